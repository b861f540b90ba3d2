"""One lane in the study's own process: the same search, recorder and worker, and no Ray.

A study starts in seconds, in a notebook too; a breakpoint in a loss stops there; and it runs where Ray does not.
"""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from seg.ranks import Ranks
from study.lanes.resources import Cluster, LanesError, Machine
from study.lanes.worker import STORE_PATIENCE, Pulse, Worker
from study.search.schedulers import Decision
from study.search.search import Search
from study.search.searcher import Proposal
from study.store import StoreError
from study.trials.messages import EpochDone, Failure, LaneSettings, Report, Started, StartTrial, TrainEpoch
from study.trials.recorder import Recorder

SEND_SECONDS = 60.0
"""Seconds in which an interrupted study must send the last checkpoint."""
TICK_SECONDS = 1.0
"""Seconds between two calls of the recorder's `tick`."""


class OwnLane:
    """The number of lanes and the nodes of a study in this process: one of each."""

    def __init__(self, cluster: Cluster):
        self._nodes = list(cluster.nodes)

    def lanes(self) -> int:
        return 1

    def nodes(self) -> list[Machine]:
        return self._nodes


def run(search: Search, recorder: Recorder, settings: LaneSettings, say: Callable[[str], None]) -> None:
    """Train the search's trials one after another until none is left.

    Raises LanesError if the lane does not start or its GPU fails, and the error of `recorder.tick`, such as StoreError.
    """
    device = torch.device("cuda" if settings.gpus_per_worker else "cpu")
    pulse = OwnPulse(Standstill(settings.hang_seconds, say), recorder.tick)
    try:
        worker = _worker(settings, device, pulse)
        try:
            while (proposal := search.next()) is not None:
                _train(worker, recorder, proposal, f"{settings.study}-lane-0")
            recorder.end_settled()  # if a budget closed after the last trial ended, nothing else does this
            worker.send()
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # another Ctrl-C ends the wait
            say("sending the last checkpoint; Ctrl-C leaves it, and its epoch is trained again")
            with contextlib.suppress(StoreError):
                worker.send(SEND_SECONDS)
            raise
        finally:
            worker.release()
    except Ended as ended:
        raise ended.why from None
    finally:
        pulse.end()


def _worker(settings: LaneSettings, device: torch.device, pulse: Pulse) -> Worker:
    # Under Ray the driver gives a store up before its workers do. Here it waits for its worker.
    patience = replace(settings, store_seconds=settings.store_seconds / STORE_PATIENCE)
    try:
        return Worker(patience, device, Ranks(), pulse)
    except (RuntimeError, MemoryError) as error:  # PyTorch's, such as a GPU that others have filled
        raise LanesError(f"the lane does not start: {type(error).__name__}: {error}") from error


class Ended(BaseException):
    """The study ends, and `why`. No trial is at fault, so the worker must not catch it with a trial's exceptions."""

    def __init__(self, why: Exception):
        super().__init__(str(why))
        self.why = why


class OwnPulse(Pulse):
    """A pulse that also calls the recorder's `tick`, between two steps and on the thread that trains."""

    def __init__(self, tell: Callable[[str], object], tick: Callable[[], None]):
        super().__init__(tell)
        self._tick, self._ticked = tick, time.monotonic()

    def beat(self) -> None:
        super().beat()
        if time.monotonic() - self._ticked > TICK_SECONDS:
            self._ticked = time.monotonic()
            try:
                self._tick()
            except Exception as error:
                raise Ended(error) from error


class Standstill:
    """The receiver of the worker's signs of life. It can end no step of its own process, so it says where it stands."""

    def __init__(self, seconds: float, say: Callable[[str], None]):
        self._seconds, self._say = seconds, say
        self._since, self._said = time.monotonic(), False

    def __call__(self, stack: str) -> None:
        if not stack:
            self._since, self._said = time.monotonic(), False
        elif time.monotonic() - self._since > self._seconds and not self._said:
            self._said = True
            remedy = "if Ctrl-C does not end it, kill this process; --resume continues the study"
            self._say(f"warning: no step for {self._seconds:.0f} s; {remedy}. It stands here:\n{stack}")


def _train(worker: Worker, recorder: Recorder, proposal: Proposal, lane: str) -> None:
    """Train a trial until it ends or is paused."""
    paused_at = proposal.record.paused_at if proposal.record else 0
    recorder.begin(proposal)
    command = StartTrial(proposal.trial, proposal.experiment.to_json(), paused_at=paused_at)
    for report in _reports(worker, command, lane):
        if recorder.result(proposal.trial, report) is not Decision.GO_ON:
            failure = report.outcome if isinstance(report.outcome, Failure) else None
            recorder.left(proposal.trial, failure)
            if failure and not failure.lane_lives:
                raise LanesError(f"this process cannot use its GPU any more: {failure.reason}")
            return


def _reports(worker: Worker, command: StartTrial, lane: str) -> Iterator[Report]:
    """Train a trial to its end and yield a report after each epoch.

    If it runs out of memory, it is trained once more from its checkpoint with half the microbatch.
    """
    answer = worker.answer(command)
    started = answer if isinstance(answer, Started) else None
    while not isinstance(answer, Failure):
        answer = worker.answer(TrainEpoch())
        if isinstance(answer, EpochDone):
            done = answer.row["epoch"] == command.experiment["epochs"]
            yield Report(answer, done, started, lane if started else "")
            if done:
                return
            started = None
    if answer.out_of_memory and command.microbatches == 1:
        yield from _reports(worker, replace(command, microbatches=2), lane)
    else:
        yield Report(answer, True, started, lane if started else "")
