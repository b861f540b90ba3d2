"""One lane in the study's own process: the same search, recorder and worker, and no Ray.

A study starts in seconds, in a notebook too; a breakpoint in a loss stops there; and it runs where Ray does not.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from seg.ranks import Ranks
from study.lanes.resources import Cluster, LanesError, Machine
from study.lanes.worker import Pulse, Worker
from study.search.schedulers import Decision
from study.search.search import Search
from study.search.searcher import Proposal
from study.trials.messages import EpochDone, Failure, LaneSettings, Report, Started, StartTrial, TrainEpoch
from study.trials.recorder import Recorder

SEND_SECONDS = 60.0
"""Seconds in which an interrupted study must send the last checkpoint."""


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

    Raises LanesError if the GPU cannot be used any more, and StoreError if the store was out of reach for too long.
    """
    pulse = Pulse(Standstill(settings.hang_seconds, say))
    try:
        worker = Worker(settings, torch.device("cuda" if settings.gpus_per_worker else "cpu"), Ranks(), pulse)
        try:
            while (proposal := search.next()) is not None:
                _train(worker, recorder, proposal, f"{settings.study}-lane-0")
        except KeyboardInterrupt:
            worker.send(SEND_SECONDS)
            raise
        recorder.end_settled()  # if a budget closed after the last trial ended, nothing else does this
        worker.close()
    finally:
        pulse.end()


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
            self._say(
                f"warning: no step for {self._seconds:.0f} s; Ctrl-C ends the study, and it can be resumed:\n{stack}"
            )


def _train(worker: Worker, recorder: Recorder, proposal: Proposal, lane: str) -> None:
    """Train a trial until it ends or is paused."""
    paused_at = proposal.record.paused_at if proposal.record else 0
    recorder.begin(proposal)
    command = StartTrial(proposal.trial, proposal.experiment.to_json(), paused_at=paused_at)
    for report in _reports(worker, command, lane):
        recorder.tick()
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
