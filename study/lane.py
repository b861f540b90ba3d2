"""A lane: one warm Ray Train worker group through which trials flow.

To Tune it is a class Trainable with reuse_actors: a new trial costs one message, not new processes that import torch.
Checkpoints are the study's own, in its store: a trial that starts where one stands goes on from it, whether the
lane died, the study was killed, or it is resumed on another machine.
"""

import traceback
from typing import Any

from ray import tune

from study.messages import EpochDone, Failure, LaneSettings, StartTrial, TrainEpoch
from study.records import State
from study.worker_group import LaneError, NoRoom, Standstill, WorkerGroup, why

DEATHS = 3
"""Of a trial's workers in a row, without an epoch finished in between, after which the trial is FAILED."""
RESOURCES = {"memory": float(2**29)}
"""Of a lane's own three processes, which only pass messages: no CPU, but memory that a small head soon runs out of."""


class GivenBack(Exception):
    """The lane leaves its trial to another, which goes on from the last epoch: nobody's fault."""


class NotStarted(Exception):
    """The lane's workers ended before they took a command: no fault of its trial, which another lane takes up."""


class Lane(tune.Trainable):
    """`config`: `settings` (LaneSettings), `scratch` (folder, the driver's to remove), `trial`, `experiment` (JSON),
    `paused_at` (see StartTrial)."""

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        return tune.PlacementGroupFactory([RESOURCES])

    def setup(self, config: dict[str, Any]) -> None:
        self._group: WorkerGroup | None = None
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._begin(new_config)
        return True

    def _begin(self, config: dict[str, Any]) -> None:
        self._config = config
        self._objective = config["settings"].objective
        self._epochs = config["experiment"]["epochs"]
        self._deaths = 0
        self._microbatches = 1
        self._rows: list[dict[str, Any]] = []
        self._start()

    def _start(self) -> None:
        """Ask the workers, new ones where there are none, to begin the trial or to go on with it."""
        if self._group is None:
            self._group = new_group(self._config["settings"], self._config["scratch"])
        trial, experiment, paused_at = (self._config[key] for key in ("trial", "experiment", "paused_at"))
        command = StartTrial(trial, experiment, self._microbatches, paused_at)
        self._starting: int | None = self._group.post(command)

    def step(self) -> dict[str, Any]:
        """One epoch: `epoch`, `row`, `files`, `objective` (best so far), `done`; with `started` where the trial was
        begun or taken up again, and `failure` where it cannot go on. GivenBack or NotStarted where another lane is to
        go on."""
        self._leave_drained_nodes()
        result: dict[str, Any] = {}
        while True:
            answer = self._try_epoch(result)
            if isinstance(answer, EpochDone):
                self._deaths = 0
                self._rows.append(answer.row)
                return result | self._passed(answer)
            if answer is not None:
                if not answer.lane_lives:
                    self._abandon()
                if not answer.out_of_memory or self._microbatches > 1:
                    return result | {"failure": answer, "done": True}
                self._microbatches = 2
            self._start()

    def _try_epoch(self, result: dict[str, Any]) -> EpochDone | Failure | None:
        """None where the workers died, and new ones may go on."""
        try:
            return self._train_epoch(result)
        except NoRoom as error:
            self._abandon()
            raise GivenBack(_no_room(self._config["settings"])) from error
        except LaneError as error:
            if "OutOfMemory" in str(error) or "low on memory" in str(error):  # Ray ended them before the machine did
                return _short_of_memory(error)
            self._count_death(error)
            return _deadly(error) if self._deaths == DEATHS else None
        except Standstill as error:
            return Failure(State.FAILED, str(error), error.stacks, lane_lives=False)

    def _count_death(self, error: LaneError) -> None:
        """Against the trial, but where a node was lost, or one is such that workers do not start there."""
        assert self._group is not None
        lost, ready = self._group.lost_node(), self._group.was_ready()
        self._abandon()
        if not lost and not ready:
            raise NotStarted(why(error)) from error
        self._deaths += not lost

    def _leave_drained_nodes(self) -> None:
        """Between two epochs nothing is lost: the last one's checkpoint is sent before the workers end."""
        if self._group is None:
            return
        leaves_home = self._group.home_is_drained()
        if not (leaves_home or self._group.is_drained()):
            return
        self._group.stop()
        self._group = None
        if leaves_home:
            raise GivenBack("its node is about to end")
        self._start()

    def _abandon(self) -> None:
        if self._group is not None:
            self._group.abandon()
            self._group = None

    def _train_epoch(self, result: dict[str, Any]) -> EpochDone | Failure:
        assert self._group is not None
        if self._starting is not None:
            started = self._group.answer(self._starting, f"trial {self._config['trial']} begins")
            if isinstance(started, Failure):
                return started
            self._starting, self._rows = None, list(started.rows)
            result["started"], result["lane"] = started, self._group.name
        what = f"trial {self._config['trial']}, epoch {len(self._rows) + 1} of {self._epochs}"
        return self._group.answer(self._group.post(TrainEpoch()), what)

    def _passed(self, answer: EpochDone) -> dict[str, Any]:
        """Without an `objective` where no epoch has had one yet: such a result is no reason to stop a trial."""
        keep, epoch = self._config["experiment"].get("keep", "best"), answer.row["epoch"]
        best = self._objective.kept_row(self._rows, keep)
        score = {"objective": best[self._objective.metric]} if best else {}
        done = {"epoch": epoch, "row": answer.row, "files": answer.files, "done": epoch >= self._epochs, **score}
        return done | {"gpu_memory_gib": answer.gpu_memory_gib, "idle_seconds": answer.idle_seconds}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Nothing: the worker keeps its own checkpoint in the store after every epoch."""
        return {}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Nothing: see save_checkpoint."""

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
