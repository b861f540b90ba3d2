"""A run and its files in the store: the best epoch's weights and counts, and the last epoch's checkpoint.

Files are written once, under names of their own (see study.store.records). A checkpoint also holds the experiment, all
rows so far and the names of the best epoch's files, so that a trial can continue from it alone.
"""

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from seg import checkpoint, loop
from seg.checkpoint import CheckpointError, Snapshot
from seg.loop import EpochResult, Run
from study.ranking.objective import Objective
from study.store import Store, counts
from study.store.background import BackgroundWriter
from study.store.records import trial_folder
from study.trials.messages import LATE_SECONDS, POLL_SECONDS, EpochDone

CHECKPOINT = "checkpoint-"
LISTINGS = 3
"""Listings of a trial's folder before giving up, if listed checkpoints are gone before they can be read."""


class Attempt:
    """One run of a trial, continued from its newest checkpoint in the store if there is one; all ranks use the same.

    If the trial was paused, its previous lane may still be uploading the checkpoint. Wait for it; otherwise that lane
    could delete the checkpoint that this run resumes from.
    """

    def __init__(
        self, run: Run, trial: int, objective: Objective, store: Store, writer: BackgroundWriter, paused_at: int = 0
    ):
        self._run, self._objective, self._writer = run, objective, writer
        self._folder = trial_folder(trial)
        self._token = secrets.token_hex(3)
        self.rows: list[dict[str, Any]] = []
        self.files: dict[str, str] = {}
        self._stored: set[str] = set()
        """Names of the newest checkpoint and the files that it needs, replaced once the next one is written."""
        self._best: Snapshot | None = None
        """The best epoch's state while its weights are in no file of their own, only in the newest checkpoint."""
        self._restore(store, paused_at)
        self._results: Iterator[EpochResult] = loop.epochs(run)

    def _restore(self, store: Store, paused_at: int) -> None:
        ranks = self._run.ranks
        if ranks.rank == 0 and paused_at:
            await_checkpoint(store, self._folder, paused_at)
        name, content = newest_checkpoint(store, self._folder) if ranks.rank == 0 else (None, b"")
        name = ranks.first(name)
        if name is None:
            return
        header = checkpoint.restore(self._run, content or store.read(f"{self._folder}/{name}"))
        self.rows, self.files = header["rows"], header["files"]
        self._stored = {name, *self.files.values()}
        self._run.microbatches = max(self._run.microbatches, header.get("microbatches", 1))
        if ranks.rank == 0 and self._is_best():
            self._best = checkpoint.snapshot(self._run)

    def _is_best(self) -> bool:
        """Whether the last epoch is so far the one to keep."""
        return self._objective.kept_row(self.rows, self._run.experiment.keep) is self.rows[-1]

    def train_epoch(self) -> EpochDone:
        result = next(self._results)
        self.rows.append(result.row)
        if self._run.ranks.rank == 0:
            self._keep(result)
        return EpochDone(result.row, dict(self.files))

    def _keep(self, result: EpochResult) -> None:
        """Queue all files of an epoch as one job, first those that the checkpoint needs.

        The last epoch needs no checkpoint. While every epoch is the best so far, the checkpoint holds the best weights.
        They get a file of their own only once an epoch is not the best, or is the last.
        """
        last = result.epoch == self._run.experiment.epochs
        contents: dict[str, Callable[[], bytes]] = {}
        # A copy, because the next epoch changes the state while this is being written.
        state = checkpoint.snapshot(self._run)
        if self._is_best():
            self._best = state
            self.files = {}
            contents |= self._counts(result)
        if self._best and (last or self._best is not state):
            best = self._best.weights(self._run)
            contents[self._name("best", best.header["epoch"], "safetensors")] = best.to_bytes
            self._best = None
        if not last:
            remarks = {"rows": list(self.rows), "files": dict(self.files), "microbatches": self._run.microbatches}
            contents[f"{CHECKPOINT}{result.epoch:05d}-{self._token}.safetensors"] = partial(state.to_bytes, **remarks)
        self._send(contents)

    def _counts(self, result: EpochResult) -> dict[str, Callable[[], bytes]]:
        found, ids = result.validation.counts, self._run.data.val.ids
        tables = {"val_counts": counts.to_table(ids, found), "val_confusion": counts.confusion_table(found)}
        return {
            self._name(kind, result.epoch, "parquet"): partial(counts.to_parquet, table)
            for kind, table in tables.items()
        }

    def _name(self, kind: str, epoch: int, ending: str) -> str:
        self.files[kind] = f"{kind}-{epoch:05d}-{self._token}.{ending}"
        return self.files[kind]

    def _send(self, contents: dict[str, Callable[[], bytes]]) -> None:
        """Queue the files. If a checkpoint is among them, delete the earlier one's files once all are written."""
        checkpoints = {name for name in contents if name.startswith(CHECKPOINT)}
        needed = {*self.files.values(), *checkpoints}
        replaced = self._stored - needed if checkpoints else set()
        files = {f"{self._folder}/{name}": content for name, content in contents.items()}
        self._writer.write(self._folder, files, map(self._at, replaced), map(self._at, needed))
        self._stored = (self._stored | needed) - replaced

    def _at(self, name: str) -> str:
        return f"{self._folder}/{name}"


def await_checkpoint(store: Store, folder: str, epoch: int) -> None:
    """Wait until the checkpoint of that epoch, or of a later one, is there.

    Gives up after LATE_SECONDS: the lane that should send it may have died.
    """
    first = f"{CHECKPOINT}{epoch:05d}"
    end = time.monotonic() + LATE_SECONDS
    while not any(name >= first for name in store.names(folder) if name.startswith(CHECKPOINT)):
        if time.monotonic() > end:
            return
        time.sleep(POLL_SECONDS)


def newest_checkpoint(store: Store, folder: str) -> tuple[str | None, bytes]:
    """Return name and content of the newest checkpoint that can be read; None and b"" if there is none."""
    for _ in range(LISTINGS):
        names = sorted((name for name in store.names(folder) if name.startswith(CHECKPOINT)), reverse=True)
        for name in names:
            # It may be damaged by a failing disk, or just replaced by a lane that is about to end: try another one.
            with contextlib.suppress(CheckpointError, FileNotFoundError):
                content = store.read(f"{folder}/{name}")
                checkpoint.read(content)
                return name, content
        if not names:
            break
    return None, b""
