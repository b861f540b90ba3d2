"""A run and what is kept of it in the store: rows, the best epoch's weights and counts, the last epoch's checkpoint.

Files are written once, under names of their own (see study.records). A checkpoint carries all that it stands for: the
experiment, every row so far and the names of the best epoch's files, so that a trial goes on from it alone.
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
from study import counts
from study.blobs import BackgroundWriter
from study.messages import EpochDone
from study.objective import Objective
from study.records import trial_folder
from study.store import Store
from study.tidy import LATE_SECONDS, POLL_SECONDS

CHECKPOINT = "checkpoint-"
LISTINGS = 3
"""Of a trial's folder, while checkpoints that were listed have gone before they were read."""


class Attempt:
    """Goes on from the store's newest checkpoint of the trial, where there is one; every rank from the same.

    Of a trial that was paused, the lane before may still be sending it: it is waited for. Else that lane might remove
    what this one stands on.
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
        """What the newest checkpoint stands on, itself included: replaced once the next one is written."""
        self._best: Snapshot | None = None
        """Of the best epoch, whose weights no file has yet: the newest checkpoint holds them."""
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
        """Whether the last epoch is the one to keep so far."""
        return self._objective.kept_row(self.rows, self._run.experiment.keep) is self.rows[-1]

    def train_epoch(self) -> EpochDone:
        result = next(self._results)
        self.rows.append(result.row)
        if self._run.ranks.rank == 0:
            self._keep(result)
        return EpochDone(result.row, dict(self.files))

    def _keep(self, result: EpochResult) -> None:
        """All files of an epoch as one job, those that the checkpoint counts on first; the last epoch needs none.

        While every epoch is the best so far, the checkpoints have its weights: they get a file of their own only once
        an epoch is not, or is the last.
        """
        last = result.epoch == self._run.experiment.epochs
        contents: dict[str, Callable[[], bytes]] = {}
        # A copy: the next epoch changes all of it while this is being written.
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
        """What an earlier checkpoint stood on goes once this one is written, if there is one among them."""
        checkpoints = {name for name in contents if name.startswith(CHECKPOINT)}
        needed = {*self.files.values(), *checkpoints}
        replaced = self._stored - needed if checkpoints else set()
        files = {f"{self._folder}/{name}": content for name, content in contents.items()}
        self._writer.write(self._folder, files, map(self._at, replaced), map(self._at, needed))
        self._stored = (self._stored | needed) - replaced

    def _at(self, name: str) -> str:
        return f"{self._folder}/{name}"


def await_checkpoint(store: Store, folder: str, epoch: int) -> None:
    """Until the checkpoint of that epoch is there, or of a later one; but not for ever: its lane may have died."""
    first = f"{CHECKPOINT}{epoch:05d}"
    end = time.monotonic() + LATE_SECONDS
    while not any(name >= first for name in store.names(folder) if name.startswith(CHECKPOINT)):
        if time.monotonic() > end:
            return
        time.sleep(POLL_SECONDS)


def newest_checkpoint(store: Store, folder: str) -> tuple[str | None, bytes]:
    """Name and content of the checkpoint of the latest epoch that can be read; None and nothing where there is none."""
    for _ in range(LISTINGS):
        names = sorted((name for name in store.names(folder) if name.startswith(CHECKPOINT)), reverse=True)
        for name in names:
            # Torn by a failing disk, or just replaced by a lane that is about to end: another one will do.
            with contextlib.suppress(CheckpointError, FileNotFoundError):
                content = store.read(f"{folder}/{name}")
                checkpoint.read(content)
                return name, content
        if not names:
            break
    return None, b""
