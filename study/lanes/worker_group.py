"""The workers of a lane: a Ray Train worker group that serves commands until it is told to stop."""

import math
import os
import threading
from typing import Any

import ray
import ray.train

from study.lanes import cluster, ray_internals
from study.lanes.mailbox import open_mailbox
from study.lanes.ray_internals import draining_nodes
from study.trials.messages import Failure, LaneSettings, Stop

POLL_SECONDS = 1.0
REASON_LINES = 4
"""Lines of Ray's error message that a reason shows."""


class LaneError(RuntimeError):
    """The worker group is gone."""


class NoRoom(LaneError):
    """The cluster had no room for the worker group."""


class Standstill(RuntimeError):
    """No worker has made a step for too long. `stacks` shows where each of them stood."""

    def __init__(self, seconds: float, stacks: str):
        super().__init__(f"no step for {seconds:.0f} s; if steps take so long, raise resources.hang_minutes")
        self.stacks = stacks


class WorkerGroup:
    """A TorchTrainer whose workers serve commands. It starts in the background, so that lanes start side by side."""

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
        except BaseException as error:  # raised again by the call that waits for an answer
            self._error = error

    def post(self, command: Any) -> int:
        """Post a command and return its index, by which `answer` finds its answer."""
        index, self._next = self._next, self._next + 1
        ray.get(self._mailbox.post.remote(index, command))
        return index

    def answer(self, index: int, what: str) -> Any:
        """Wait for rank 0's answer and return it. Ray's dashboard shows `what` as the name of the wait.

        Raises LaneError if the group ends first, and Standstill if its workers make no more steps.
        """
        reference = self._mailbox.answer.options(name=f"{self.name}: {what}").remote(index)
        while True:
            ready, _ = ray.wait([reference], timeout=POLL_SECONDS)
            if ready:
                return ray.get(reference)
            if not self._thread.is_alive():
                kind = NoRoom if ray_internals.found_no_room(self._error) else LaneError
                raise kind(f"the lane's workers ended: {self._error}") from self._error
            self._check_alive()

    def _check_alive(self) -> None:
        workers = ray.get(self._mailbox.workers.remote())
        if not workers:
            return  # still starting, for which Ray has its own time limit
        silence, stacks = ray.get(self._mailbox.silence.remote())
        if silence > self._settings.hang_seconds:
            for worker in workers:
                ray.kill(worker)
            raise Standstill(silence, stacks)

    def nodes(self) -> set[str]:
        """Return Ray's ids of the nodes that its workers are on."""
        return set(ray.get(self._mailbox.nodes.remote()))

    def lost_node(self) -> bool:
        """Whether a node that had workers is gone or about to end."""
        return bool(self.nodes() - {node["NodeID"] for node in cluster.alive()})

    def was_ready(self) -> bool:
        """Whether any of its workers has become ready for commands."""
        return bool(ray.get(self._mailbox.is_ready.remote()))

    def is_drained(self) -> bool:
        """Whether a node of its workers is about to end."""
        return bool(self.nodes() & draining_nodes())

    def home_is_drained(self) -> bool:
        """Whether the lane's own node is about to end."""
        return ray.get_runtime_context().get_node_id() in draining_nodes()

    def stop(self) -> None:
        self.post(Stop())
        self._thread.join(timeout=60 + self._settings.store_seconds)
        self.abandon()

    def abandon(self) -> None:
        """Kill the mailbox: its name becomes free, and a worker that still waits for a command ends."""
        ray.kill(self._mailbox)


def why(error: LaneError) -> str:
    """Return the reason for a lane's end in one line."""
    failures = getattr(error.__cause__, "worker_failures", {})
    for failure in failures.values():
        inner = getattr(failure, "cause", failure)
        last = str(inner).strip().rpartition("\n")[2]
        return f"{type(inner).__name__}: {last}"
    # Ray's first line says only which process the error that follows is from.
    return " ".join(str(error).split("\n")[:REASON_LINES])


def _trainer(settings: LaneSettings, mailbox: Any, scratch: str, name: str) -> Any:
    from study.lanes.sigterm import SavingTorchConfig

    if math.isfinite(settings.room_seconds):
        os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = str(settings.room_seconds)

    on_gpu = settings.gpus_per_worker > 0
    resources = {"CPU": float(settings.cores)} | ({"GPU": settings.gpus_per_worker} if on_gpu else {})
    return ray_internals.trainer()(
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
            failure_config=ray.train.FailureConfig(  # its typed form is that of Ray Train's first version
                max_failures=0,
                controller_failure_limit=0,  # type: ignore[call-arg]
                max_preemption_failures=0,
            ),
        ),
    )


SIGTERM_SECONDS = 60.0
"""Seconds in which a worker that receives SIGTERM must send its files."""


def _serve(config: dict[str, Any]) -> None:
    """Run a Ray Train worker: answer commands from the mailbox until Stop."""
    import ray.train.torch  # imported here, like the worker, because a lane's own process needs no torch

    from seg.ranks import Ranks
    from study.lanes import sigterm
    from study.lanes.worker import Pulse, Worker

    mailbox, ranks = config["mailbox"], Ranks.current()
    here = ray.get_runtime_context()
    ray.get(mailbox.register.remote(ranks.rank, here.current_actor, here.get_node_id()))
    pulse = Pulse(lambda stack: mailbox.beat.remote(ranks.rank, stack))
    worker = Worker(config["settings"], ray.train.torch.get_device(), ranks, pulse)
    sigterm.before_the_end(lambda: worker.send(SIGTERM_SECONDS))
    ray.get(mailbox.ready.remote())
    index = 0
    while not isinstance(command := ray.get(mailbox.command.remote(index)), Stop):
        answer = worker.answer(command)
        failure = answer if isinstance(answer, Failure) and not answer.lane_lives else None
        if ranks.rank == 0 or failure:
            ray.get(mailbox.put_answer.remote(index, answer))
        if failure:
            raise RuntimeError(failure.reason)
        index += 1
    worker.close()
