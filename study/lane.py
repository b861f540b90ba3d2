"""A lane: one warm Ray Train worker group through which trials flow.

To Tune it is a class Trainable with reuse_actors: a new trial costs one message, not new processes that import torch.
Checkpoints are the study's own, in its store: a trial that starts where one stands goes on from it, whether the
lane died, the study was killed, or it is resumed on another machine.
"""

import threading
from typing import Any

import ray
import ray.train
from ray import tune

from study.mailbox import open_mailbox
from study.messages import Failure, LaneSettings, StartTrial, Stop, TrainEpoch

POLL_SECONDS = 1.0


class LaneError(RuntimeError):
    """The worker group is gone."""


class WorkerGroup:
    """A TorchTrainer whose workers serve commands; started in the background, so that lanes start side by side."""

    def __init__(self, settings: LaneSettings, scratch: str):
        self._settings, self._scratch = settings, scratch
        self._mailbox = open_mailbox()
        self._next = 0
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._fit, daemon=True)
        self._thread.start()

    def _fit(self) -> None:
        try:
            _trainer(self._settings, self._mailbox, self._scratch).fit()
        except BaseException as error:  # handed on by whoever waits for an answer
            self._error = error

    def post(self, command: Any) -> int:
        """The command's index, by which its answer is asked for."""
        index, self._next = self._next, self._next + 1
        ray.get(self._mailbox.post.remote(index, command))
        return index

    def answer(self, index: int) -> Any:
        """Rank 0's answer. LaneError where the group ends first."""
        reference = self._mailbox.answer.remote(index)
        while True:
            ready, _ = ray.wait([reference], timeout=POLL_SECONDS)
            if ready:
                return ray.get(reference)
            if not self._thread.is_alive():
                raise LaneError(f"the lane's workers ended: {self._error}") from self._error

    def stop(self) -> None:
        self.post(Stop())
        self._thread.join(timeout=60)


def _trainer(settings: LaneSettings, mailbox: Any, scratch: str) -> Any:
    import ray.train.torch
    from ray.train.v2.api.config import FailureConfig

    from study.worker import serve

    on_gpu = settings.gpus_per_worker > 0
    resources = {"CPU": 1.0} | ({"GPU": settings.gpus_per_worker} if on_gpu else {})
    return ray.train.torch.TorchTrainer(
        serve,
        train_loop_config={"settings": settings, "mailbox": mailbox},
        scaling_config=ray.train.ScalingConfig(
            num_workers=settings.workers, use_gpu=on_gpu, resources_per_worker=resources
        ),
        run_config=ray.train.RunConfig(
            storage_path=scratch,
            failure_config=FailureConfig(max_failures=0, controller_failure_limit=0),
        ),
    )


class Lane(tune.Trainable):
    """`config`: `settings` (LaneSettings), `scratch` (folder, the driver's to remove), `trial`, `experiment` (JSON)."""

    def setup(self, config: dict[str, Any]) -> None:
        self._group: WorkerGroup | None = None
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._begin(new_config)
        return True

    def _begin(self, config: dict[str, Any]) -> None:
        if self._group is None:
            self._group = WorkerGroup(config["settings"], config["scratch"])
        self._objective = config["settings"].objective
        self._epochs = config["experiment"]["epochs"]
        self._starting: int | None = self._group.post(StartTrial(config["trial"], config["experiment"]))

    def step(self) -> dict[str, Any]:
        """One epoch: `epoch`, `objective` (best so far), `rows` (new ones), `done`; with `started` in the first
        result of a trial, and `failure` where the trial cannot go on."""
        result: dict[str, Any] = {}
        if self._starting is not None:
            answer = self._ask(self._starting)
            if isinstance(answer, Failure):
                return self._failed(answer)
            self._starting, self._rows = None, list(answer.rows)
            result["started"] = answer
        assert self._group is not None
        answer = self._ask(self._group.post(TrainEpoch()))
        if isinstance(answer, Failure):
            return result | self._failed(answer)
        self._rows.append(answer.row)
        return result | self._passed()

    def _ask(self, index: int) -> Any:
        assert self._group is not None
        return self._group.answer(index)

    def _passed(self) -> dict[str, Any]:
        """Without an `objective` where no epoch has had one yet: such a result is no reason to stop a trial."""
        best, epoch = self._objective.best_row(self._rows), self._rows[-1]["epoch"]
        score = {"objective": best[self._objective.metric]} if best else {}
        return {"epoch": epoch, "row": self._rows[-1], "done": epoch >= self._epochs, **score}

    def _failed(self, failure: Failure) -> dict[str, Any]:
        if not failure.lane_lives:
            self._group = None
        return {"failure": failure, "done": True}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Nothing: the worker keeps its own checkpoint in the store after every epoch."""
        return {}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Nothing: see save_checkpoint."""

    def cleanup(self) -> None:
        if self._group is not None:
            self._group.stop()
