"""The workers of a lane: a Ray Train worker group that serves commands until it is told to stop."""

import asyncio
import math
import os
import threading
from typing import Any

# Before ray.train is imported. Lanes look after nodes that end themselves: without this, one more process each.
os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
# Seconds between two looks at the workers: how late their start, end or death is noticed.
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")

import ray
import ray.train

from study import cluster
from study.mailbox import open_mailbox
from study.messages import LaneSettings, Stop

POLL_SECONDS = 1.0
REASON_LINES = 4
"""Of Ray's message."""


class LaneError(RuntimeError):
    """The worker group is gone."""


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
        return bool(self.nodes() - {node["NodeID"] for node in cluster.alive()})

    def was_ready(self) -> bool:
        """Whether any of its workers came as far as to take commands."""
        return bool(ray.get(self._mailbox.is_ready.remote()))

    def is_drained(self) -> bool:
        """Whether a node of its workers has been given notice."""
        return bool(self.nodes() & cluster.draining())

    def home_is_drained(self) -> bool:
        """Whether the lane's own node has."""
        return ray.get_runtime_context().get_node_id() in cluster.draining()

    def stop(self) -> None:
        self.post(Stop())
        self._thread.join(timeout=60 + self._settings.store_seconds)
        self.abandon()

    def abandon(self) -> None:
        """Its name is free for another; a worker that still waits for a command ends."""
        ray.kill(self._mailbox)


def why(error: LaneError) -> str:
    """In one line."""
    failures = getattr(error.__cause__, "worker_failures", {})
    for failure in failures.values():
        inner = getattr(failure, "cause", failure)
        last = str(inner).strip().rpartition("\n")[2]
        return f"{type(inner).__name__}: {last}"
    # Ray's first line says only whose error follows.
    return " ".join(str(error).split("\n")[:REASON_LINES])


def _found_no_room(error: BaseException | None) -> bool:
    """Whether a trainer gave up waiting for its workers' resources: a failure of its controller, by Ray's own type."""
    return type(getattr(error, "controller_failure", None)).__name__ == "WorkerGroupStartupTimeoutError"


def _trainer(settings: LaneSettings, mailbox: Any, scratch: str, name: str) -> Any:
    import ray.train.torch
    from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
    from ray.train.v2._internal.execution.controller import TrainController
    from ray.train.v2.api.config import FailureConfig

    from study.sigterm import SavingTorchConfig

    class Trainer(ray.train.torch.TorchTrainer):
        """Two processes less than Ray's own in every lane: no Ray Data, and its controller is in the lane's process,
        which does nothing but wait."""

        def _create_default_callbacks(self) -> list[Any]:
            callbacks = super()._create_default_callbacks()  # type: ignore[misc]
            return [callback for callback in callbacks if not isinstance(callback, DatasetsCallback)]

        def _initialize_and_run_controller(self, **parts: Any) -> Any:
            if not ray.get_runtime_context().get_actor_id():  # workers are told who leads them: it must be an actor
                return super()._initialize_and_run_controller(**parts)  # type: ignore[misc]
            controller = TrainController(**parts)
            asyncio.run(controller.run())
            return controller.get_result()

    if math.isfinite(settings.room_seconds):
        os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = str(settings.room_seconds)

    on_gpu = settings.gpus_per_worker > 0
    resources = {"CPU": float(settings.cores)} | ({"GPU": settings.gpus_per_worker} if on_gpu else {})
    return Trainer(
        _serve,
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


def _serve(config: dict[str, Any]) -> None:
    """Imported by workers alone: a lane's own process needs no models."""
    from study.worker import serve

    serve(config)
