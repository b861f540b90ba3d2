"""A lane: one warm Ray Train worker group through which trials flow.

To Tune it is a class Trainable with reuse_actors: a new trial costs one message, not new processes that import torch.
Checkpoints are the study's own, in its store: a trial that starts where one stands goes on from it, whether the
lane died, the study was killed, or it is resumed on another machine.
"""

import math
import os
import threading
import traceback
from typing import Any

# Before ray.train is imported. Lanes look after nodes that end themselves: without this, one more process each.
os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")

import ray
import ray.train
from ray import tune

from study.mailbox import open_mailbox
from study.messages import EpochDone, Failure, LaneSettings, StartTrial, Stop, TrainEpoch
from study.records import State

POLL_SECONDS = 1.0
DEATHS = 3
"""Of a trial's workers in a row, without an epoch finished in between, after which the trial is FAILED."""


REASON_LINES = 4


class LaneError(RuntimeError):
    """The worker group is gone."""


class GivenBack(Exception):
    """The lane leaves its trial to another, which goes on from the last epoch: nobody's fault."""


class NoRoom(LaneError):
    """The cluster had no room for the worker group."""


class Standstill(RuntimeError):
    """No worker has made a step for too long. `stacks`: where each stood."""

    def __init__(self, seconds: float, stacks: str):
        super().__init__(f"no step for {seconds:.0f} s; if steps take so long, raise resources.hang_minutes")
        self.stacks = stacks


class WorkerGroup:
    """A TorchTrainer whose workers serve commands; started in the background, so that lanes start side by side."""

    def __init__(self, settings: LaneSettings, scratch: str):
        self._settings, self._scratch = settings, scratch
        self._mailbox, self.name = open_mailbox(settings.study)
        self._next = 0
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._fit, daemon=True)
        self._thread.start()

    def _fit(self) -> None:
        try:
            _trainer(self._settings, self._mailbox, self._scratch, self.name).fit()
        except BaseException as error:  # handed on by whoever waits for an answer
            self._error = error

    def post(self, command: Any) -> int:
        """The command's index, by which its answer is asked for."""
        index, self._next = self._next, self._next + 1
        ray.get(self._mailbox.post.remote(index, command))
        return index

    def answer(self, index: int, what: str) -> Any:
        """Rank 0's answer. LaneError where the group ends first, Standstill where its workers make no more steps.

        `what` is waited for, as Ray's dashboard shows it."""
        reference = self._mailbox.answer.options(name=f"{self.name}: {what}").remote(index)
        while True:
            ready, _ = ray.wait([reference], timeout=POLL_SECONDS)
            if ready:
                return ray.get(reference)
            if not self._thread.is_alive():
                kind = NoRoom if _found_no_room(self._error) else LaneError
                raise kind(f"the lane's workers ended: {self._error}") from self._error
            self._check_alive()

    def _check_alive(self) -> None:
        workers = ray.get(self._mailbox.workers.remote())
        if not workers:
            return  # still starting, which Ray itself bounds
        silence, stacks = ray.get(self._mailbox.silence.remote())
        if silence > self._settings.hang_seconds:
            for worker in workers:
                ray.kill(worker)
            raise Standstill(silence, stacks)

    def nodes(self) -> set[str]:
        """Ray's ids of the nodes that its workers are on."""
        return set(ray.get(self._mailbox.nodes.remote()))

    def lost_node(self) -> bool:
        """Whether a node that had workers is gone, or going."""
        there = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
        return bool(self.nodes() - there) or self.is_drained()

    def is_drained(self) -> bool:
        """Whether a node of its workers has been given notice."""
        return bool(self.nodes() & draining())

    def stop(self) -> None:
        self.post(Stop())
        self._thread.join(timeout=60 + self._settings.store_seconds)
        self.abandon()

    def abandon(self) -> None:
        """Its name is free for another; a worker that still waits for a command ends."""
        ray.kill(self._mailbox)


def draining() -> set[str]:
    """Ids of the nodes that are about to end: a spot instance, or one that the autoscaler takes away."""
    return set(ray._private.state.state.get_draining_nodes())


def _found_no_room(error: BaseException | None) -> bool:
    """Whether a trainer gave up waiting for its workers' resources: a failure of its controller, by Ray's own type."""
    return type(getattr(error, "controller_failure", None)).__name__ == "WorkerGroupStartupTimeoutError"


def _trainer(settings: LaneSettings, mailbox: Any, scratch: str, name: str) -> Any:
    import ray.train.torch
    from ray.train.v2.api.config import FailureConfig

    from study.sigterm import SavingTorchConfig
    from study.worker import serve

    if math.isfinite(settings.room_seconds):
        os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = str(settings.room_seconds)

    on_gpu = settings.gpus_per_worker > 0
    resources = {"CPU": float(settings.cores)} | ({"GPU": settings.gpus_per_worker} if on_gpu else {})
    return ray.train.torch.TorchTrainer(
        serve,
        train_loop_config={"settings": settings, "mailbox": mailbox},
        torch_config=SavingTorchConfig(),
        scaling_config=ray.train.ScalingConfig(
            num_workers=settings.workers,
            use_gpu=on_gpu,
            resources_per_worker=resources,
            placement_strategy="STRICT_PACK" if settings.one_node else "PACK",
        ),
        run_config=ray.train.RunConfig(
            name=name,
            storage_path=scratch,
            failure_config=FailureConfig(max_failures=0, controller_failure_limit=0, max_preemption_failures=0),
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
        command = StartTrial(self._config["trial"], self._config["experiment"], self._microbatches)
        self._starting: int | None = self._group.post(command)

    def step(self) -> dict[str, Any]:
        """One epoch: `epoch`, `row`, `files`, `objective` (best so far), `done`; with `started` where the trial was
        begun or taken up again, and `failure` where it cannot go on. GivenBack where another lane is to go on."""
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
            assert self._group is not None
            self._deaths += not self._group.lost_node()
            self._abandon()
            return _deadly(error) if self._deaths == DEATHS else None
        except Standstill as error:
            return Failure(State.FAILED, str(error), error.stacks, lane_lives=False)

    def _leave_drained_nodes(self) -> None:
        """Between two epochs nothing is lost: the last one's checkpoint is sent before the workers end."""
        if self._group is None or not self._group.is_drained():
            return
        self._group.stop()
        self._group = None
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
        best, epoch = self._objective.best_row(self._rows), answer.row["epoch"]
        score = {"objective": best[self._objective.metric]} if best else {}
        done = {"epoch": epoch, "row": answer.row, "files": answer.files, "done": epoch >= self._epochs, **score}
        return done | {"gpu_memory_gib": answer.gpu_memory_gib}

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
    # Ray's first line says only whose error follows.
    what = " ".join(str(error).split("\n")[:REASON_LINES])
    reason = f"the workers died {DEATHS} times without finishing an epoch: {what}"
    text = "".join(traceback.format_exception(error))
    return Failure(State.FAILED, reason, text, lane_lives=False)
