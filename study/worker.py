"""What each rank of a lane does: wait for a command, run it through seg's loop, answer. Trials come and go."""

import time
import traceback
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import ray
import ray.train.torch
import torch
import torch.distributed as dist

from seg import checkpoint, loop, oversample
from seg.experiment import Experiment
from seg.loop import Diverged, EpochResult, Run
from seg.pack import open_pack
from seg.ranks import Ranks
from study import counts
from study.blobs import BackgroundWriter
from study.messages import EpochDone, Failure, LaneSettings, Started, StartTrial, Stop, TrainEpoch
from study.objective import Objective
from study.records import State, trial_folder
from study.store import Store


def serve(config: dict[str, Any]) -> None:
    """The body of a Ray Train worker: commands from the mailbox until Stop."""
    worker = Worker(config["settings"], ray.train.torch.get_device(), Ranks.current())
    mailbox, index = config["mailbox"], 0
    while not isinstance(command := ray.get(mailbox.command.remote(index)), Stop):
        answer = worker.answer(command)
        failure = answer if isinstance(answer, Failure) and not answer.lane_lives else None
        if worker.ranks.rank == 0 or failure:
            ray.get(mailbox.put_answer.remote(index, answer))
        if failure:
            raise RuntimeError(failure.reason)
        index += 1
    worker.close()


class Worker:
    """One rank and the trial it is at."""

    def __init__(self, settings: LaneSettings, device: torch.device, ranks: Ranks):
        torch.set_num_threads(settings.threads)
        self.settings, self.device, self.ranks = settings, device, ranks
        self._store = Store(settings.store_uri)
        self._writer = BackgroundWriter(self._store)
        self._data = loop.load(open_pack(Path(settings.pack_folder)), device)
        self._attempt: Attempt | None = None

    def answer(self, command: StartTrial | TrainEpoch) -> Started | EpochDone | Failure:
        try:
            if isinstance(command, StartTrial):
                return self._start(command)
            assert self._attempt is not None
            return self._attempt.train_epoch()
        except Exception as error:  # whatever a trial does, it is recorded, and the lane lives on
            self._attempt = None
            if lost_peer(error):
                raise  # not this trial's doing: the lane ends, and the trial goes on from its last epoch on a new one
            return _failure(error, self.ranks.world)

    def _start(self, command: StartTrial) -> Started:
        began = time.perf_counter()
        self._attempt = None  # its memory is free before the next model is built
        experiment = Experiment.from_json(command.experiment)
        weights_dir = Path(self.settings.weights_dir) if self.settings.weights_dir else None
        run = loop.start(experiment, self._data, self.device, weights_dir, self.ranks)
        self._writer.flush()
        self._attempt = Attempt(run, command.trial, self.settings.objective, self._store, self._writer)
        trainable, frozen = run.params
        return Started(
            device=device_name(self.device),
            params_trainable=trainable,
            params_frozen=frozen,
            build_seconds=time.perf_counter() - began,
            sampling=oversample.report(self._data.class_pixels_NC, run.weights_N),
            rows=self._attempt.rows,
        )

    def close(self) -> None:
        self._writer.flush()


class Attempt:
    """A run and what is kept of it: rows, the best epoch's weights and counts, the last epoch's checkpoint."""

    def __init__(self, run: Run, trial: int, objective: Objective, store: Store, writer: BackgroundWriter):
        self._run, self._objective, self._writer = run, objective, writer
        self._folder = trial_folder(trial)
        self.rows: list[dict[str, Any]] = []
        if store.exists(self._checkpoint_name):
            self.rows = checkpoint.restore(run, store.read(self._checkpoint_name))["rows"]
        self._results: Iterator[EpochResult] = loop.epochs(run)

    @property
    def _checkpoint_name(self) -> str:
        return f"{self._folder}/checkpoint.safetensors"

    def train_epoch(self) -> EpochDone:
        result = next(self._results)
        self.rows.append(result.row)
        if self._run.ranks.rank == 0:
            self._keep(result)
        return EpochDone(result.row)

    def _keep(self, result: EpochResult) -> None:
        """Best weights and counts before the checkpoint that counts on them; the last epoch needs no checkpoint."""
        files = {}
        if self._objective.best_row(self.rows) is self.rows[-1]:
            weights = checkpoint.snapshot_weights(self._run)
            found = result.validation.counts
            table, confusion = counts.to_table(self._run.data.val.ids, found), counts.confusion_table(found)
            files[f"{self._folder}/best.safetensors"] = weights.to_bytes
            files[f"{self._folder}/val_counts.parquet"] = partial(counts.to_parquet, table)
            files[f"{self._folder}/val_confusion.parquet"] = partial(counts.to_parquet, confusion)
        last = result.epoch == self._run.experiment.epochs
        if not last:
            files[self._checkpoint_name] = checkpoint.snapshot(self._run, rows=self.rows).to_bytes
        self._writer.write(files)
        if last:
            self._writer.flush()  # a finished trial's files are there before it is called finished


def lost_peer(error: Exception) -> bool:
    """Whether a collective failed because another rank is gone. Gloo says so in the text of a plain RuntimeError."""
    text = str(error)
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and ("gloo" in text or "NCCL" in text))


def _failure(error: Exception, world: int) -> Failure:
    infeasible = isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)
    state = State.INFEASIBLE if infeasible else State.FAILED
    diverged = isinstance(error, Diverged)
    reason = str(error) if diverged else f"{type(error).__name__}: {error}"
    # A diverged loss is seen by every rank at once; after anything else the others may wait in a collective for ever.
    return Failure(state, reason.splitlines()[0], traceback.format_exc(), lane_lives=diverged or world == 1)


def device_name(device: torch.device) -> str:
    """As records keep it: the GPU's own name, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
