"""A lane: one warm Ray Train worker group through which trials flow.

For Tune it is a Trainable class with reuse_actors: a new trial costs one message, not new processes that import torch.
Checkpoints are the study's own, in its store. A trial that has one continues from it, whether its lane died, the study
was killed, or the study is resumed on another machine.
"""

import traceback
from typing import Any

from ray import tune

from study.lanes import ray_internals
from study.lanes.worker_group import LaneError, NoRoom, Standstill, WorkerGroup, why
from study.store.records import State
from study.trials.messages import EpochDone, Failure, LaneSettings, Report, Started, StartTrial, TrainEpoch

DEATHS = 3
"""Deaths of a trial's workers after which it ends as FAILED; a finished epoch resets the count."""
RESOURCES = {"memory": float(2**29)}
"""What Ray reserves for a lane's own three processes, in bytes of memory.

They only pass messages and need no CPU, but a small head node soon runs out of memory.
"""


class LaneReleased(Exception):
    """The lane gives its trial to another lane, which continues from the last epoch. The trial is not at fault."""


class NotStarted(Exception):
    """The lane's workers ended before they took a command. The trial is not at fault; another lane takes it up."""


class Lane(tune.Trainable):
    """The Trainable that Tune runs, one per lane.

    Its `config` has `settings` (LaneSettings), `scratch` (a folder that the driver removes), `trial`, `experiment`
    (JSON) and `paused_at` (see StartTrial).
    """

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        return tune.PlacementGroupFactory([RESOURCES])

    def setup(self, config: dict[str, Any]) -> None:
        ray_internals.prepare_process()
        self._group: WorkerGroup | None = None
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._begin(new_config)
        return True

    def _begin(self, config: dict[str, Any]) -> None:
        self._config = config
        self._epochs = config["experiment"]["epochs"]
        self._deaths = 0
        self._microbatches = 1
        self._epoch, self._lane = 0, ""
        self._start()

    def _start(self) -> None:
        """Ask the workers to begin the trial or to continue it. Starts new workers if there are none."""
        if self._group is None:
            self._group = new_group(self._config["settings"], self._config["scratch"])
        trial, experiment, paused_at = (self._config[key] for key in ("trial", "experiment", "paused_at"))
        command = StartTrial(trial, experiment, self._microbatches, paused_at)
        self._starting: int | None = self._group.post(command)

    def step(self) -> dict[str, Any]:
        """Train one epoch and return `report`, the Report for the recorder, and `done`: whether Tune ends the trial.

        Raises LaneReleased or NotStarted if another lane is to continue the trial.
        """
        self._leave_drained_nodes()
        self._started: Started | None = None
        while True:
            answer = self._try_epoch()
            if isinstance(answer, EpochDone):
                self._deaths = 0
                self._epoch = answer.row["epoch"]
                return self._result(answer, done=self._epoch >= self._epochs)
            if answer is not None:
                if not answer.lane_lives:
                    self._abandon()
                if not answer.out_of_memory or self._microbatches > 1:
                    return self._result(answer, done=True)
                self._microbatches = 2
            self._start()

    def _result(self, outcome: EpochDone | Failure, done: bool) -> dict[str, Any]:
        lane = self._lane if self._started else ""
        return {"report": Report(outcome, done, self._started, lane), "done": done}

    def _try_epoch(self) -> EpochDone | Failure | None:
        """Train one epoch and return the answer; None if the workers died and new ones may continue."""
        try:
            return self._train_epoch()
        except NoRoom as error:
            self._abandon()
            raise LaneReleased(_no_room(self._config["settings"])) from error
        except LaneError as error:
            if "OutOfMemory" in str(error) or "low on memory" in str(error):  # Ray ended them before the machine did
                return _short_of_memory(error)
            self._count_death(error)
            return _deadly(error) if self._deaths == DEATHS else None
        except Standstill as error:
            return Failure(State.FAILED, str(error), error.stacks, lane_lives=False)

    def _count_death(self, error: LaneError) -> None:
        """Count the death against the trial, unless a node was lost or its workers never started.

        Raises NotStarted in the second case.
        """
        assert self._group is not None
        lost, ready = self._group.lost_node(), self._group.was_ready()
        self._abandon()
        if not lost and not ready:
            raise NotStarted(why(error)) from error
        self._deaths += not lost

    def _leave_drained_nodes(self) -> None:
        """Stop the workers if a node of this lane is about to end. Raises LaneReleased if it is the lane's own node.

        Between two epochs nothing is lost: the last checkpoint is sent before the workers end.
        """
        if self._group is None:
            return
        leaves_home = self._group.home_is_drained()
        if not (leaves_home or self._group.is_drained()):
            return
        self._group.stop()
        self._group = None
        if leaves_home:
            raise LaneReleased("its node is about to end")
        self._start()

    def _abandon(self) -> None:
        if self._group is not None:
            self._group.abandon()
            self._group = None

    def _train_epoch(self) -> EpochDone | Failure:
        assert self._group is not None
        if self._starting is not None:
            started = self._group.answer(self._starting, f"trial {self._config['trial']} begins")
            if isinstance(started, Failure):
                return started
            self._starting, self._epoch = None, len(started.rows)
            self._started, self._lane = started, self._group.name
        what = f"trial {self._config['trial']}, epoch {self._epoch + 1} of {self._epochs}"
        return self._group.answer(self._group.post(TrainEpoch()), what)

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Save nothing: the worker writes its own checkpoint to the store after every epoch."""
        return {}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Load nothing: see save_checkpoint."""

    def cleanup(self) -> None:
        if self._group is not None:
            self._group.stop()


def new_group(settings: LaneSettings, scratch: str) -> WorkerGroup:
    return WorkerGroup(settings, scratch)


def _no_room(settings: LaneSettings) -> str:
    each = f"{settings.gpus_per_worker:g} GPU" if settings.gpus_per_worker else f"{settings.cores} CPU"
    return f"no room for its {settings.workers} x {each}" + (" on one node" if settings.one_node else "")


def _short_of_memory(error: LaneError) -> Failure:
    text = "".join(traceback.format_exception(error))
    reason = f"out of memory: {error}".splitlines()[0]
    return Failure(State.INFEASIBLE, reason, text, lane_lives=False, out_of_memory=True)


def _deadly(error: LaneError) -> Failure:
    reason = f"the workers died {DEATHS} times without finishing an epoch: {why(error)}"
    text = "".join(traceback.format_exception(error))
    return Failure(State.FAILED, reason, text, lane_lives=False)
