"""Simulated lanes: an event loop with a virtual clock in place of Tune's controller and Ray's processes."""

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np

from seg.experiment import Experiment
from study.ranking.objective import Objective
from study.search.schedulers import Decision
from study.search.search import Search
from study.search.searcher import Proposal
from study.simulation.learning_curve import Curves, LearningCurve, row
from study.trials.messages import EpochDone, Report, Started
from study.trials.recorder import Recorder

BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


class VirtualClock:
    """The clock of simulated lanes: it stands still while the study decides, and jumps to the next event."""

    seconds = 0.0
    """Seconds since the study began."""

    def now(self) -> str:
        """Return the time in the format of study.store.records.now."""
        return (BEGINNING + timedelta(seconds=self.seconds)).isoformat(timespec="seconds")


LANES_A_NODE = 8
REPAIR_SECONDS = 300.0
"""Seconds until a lost node is replaced."""
SLOW = 3.0
"""The factor by which a straggler is slower."""
DAY = 24 * 3600.0


@dataclass(frozen=True)
class Faults:
    """The frequency of faults of lanes and nodes. A trial's failure is part of its learning curve."""

    stragglers: float = 0.0
    """The share of lanes that take SLOW times as long."""
    node_losses: float = 0.0
    """Losses of each node per day, at random moments."""

    def paces(self, lanes: int, chance: np.random.Generator) -> np.ndarray:
        """Return how many seconds each lane takes for one second of work."""
        return np.where(chance.random(lanes) < self.stragglers, SLOW, chance.lognormal(0, 0.03, lanes))

    def seconds_to_loss(self, chance: np.random.Generator) -> float:
        return chance.exponential(DAY / self.node_losses) if self.node_losses else np.inf


BEGIN_SECONDS = 0.2
"""Seconds from the command to the first step on a warm lane; see tests/benchmarks/bench_lanes.py."""


@dataclass
class Run:
    """A trial on its lane."""

    trial: int
    experiment: Experiment
    course: LearningCurve
    epochs: int
    """The number of epochs that its checkpoint has already completed."""
    begun: bool = False
    """Whether this lane has already reported a result of the trial."""


@dataclass
class Lane:
    number: int
    pace: float
    run: Run | None = None
    life: int = 0
    """How often its node was lost. An event planned before a loss does not happen after it."""


@dataclass(order=True)
class Event:
    seconds: float
    number: int
    happen: Callable[[], None] = field(compare=False)


class Lanes:
    """Simulated lanes that run a search to its end.

    They ask the search the same questions, in the same order, as study.lanes.tune does on real lanes.
    """

    def __init__(
        self,
        search: Search,
        recorder: Recorder,
        curves: Curves,
        objective: Objective,
        lanes: int,
        clock: VirtualClock,
        faults: Faults,
        seed: int,
    ):
        self._search, self._recorder, self._curves, self._objective = search, recorder, curves, objective
        self._clock, self._faults, self._chance = clock, faults, np.random.default_rng(seed)
        self._lanes = [Lane(number, float(pace)) for number, pace in enumerate(faults.paces(lanes, self._chance))]
        self.free = deque(self._lanes)
        self.lost: deque[Run] = deque()
        """Trials whose node was lost. The next free lanes go on with them, as in Tune."""
        self._events: list[Event] = []
        self._happened = 0
        self._running = 0
        self.results = self.losses = 0
        self.busy_seconds = 0.0
        for first in range(0, lanes, LANES_A_NODE):
            self._plan_loss(self._lanes[first : first + LANES_A_NODE])

    def events(self) -> Iterator[None]:
        """Run all events until no trial is left. Before each yield, every free lane has been offered a trial."""
        self._fill()
        while self._running or self.lost:
            event = heapq.heappop(self._events)
            self._clock.seconds = event.seconds
            event.happen()
            self._fill()
            yield

    def _in(self, seconds: float, happen: Callable[[], None]) -> None:
        self._happened += 1
        heapq.heappush(self._events, Event(self._clock.seconds + seconds, self._happened, happen))

    def _fill(self) -> None:
        while self.free and (run := self._next()) is not None:
            lane = self.free.popleft()
            lane.run, run.begun = run, False
            self._running += 1
            self._train(lane, run, BEGIN_SECONDS)

    def _next(self) -> Run | None:
        if self.lost:
            return self.lost.popleft()
        proposal = self._search.next()
        return self._begin(proposal) if proposal else None

    def _begin(self, proposal: Proposal) -> Run:
        self._recorder.begin(proposal)
        behind = len(self._recorder.records[proposal.trial].epochs)
        return Run(proposal.trial, proposal.experiment, self._curves.course(proposal.experiment), behind)

    def _train(self, lane: Lane, run: Run, more_seconds: float = 0.0) -> None:
        """Plan the report of the trial's next epoch."""
        seconds, life = float(run.course.seconds_E[run.epochs]) * lane.pace, lane.life

        def report() -> None:
            if lane.life == life:
                self._report(lane, run, seconds)

        self._in(seconds + more_seconds, report)

    def _report(self, lane: Lane, run: Run, seconds: float) -> None:
        self.results += 1
        self.busy_seconds += seconds
        epoch, course = run.epochs + 1, run.course
        failure = course.failure if course.fails_in == epoch else None
        outcome = failure or EpochDone(row(course, epoch, seconds, run.experiment, self._objective))
        done = failure is not None or epoch == run.experiment.epochs
        started, name = (None, "") if run.begun else (self._started(lane, run), f"lane-{lane.number}")
        run.begun, run.epochs = True, epoch
        if self._recorder.result(run.trial, Report(outcome, done, started, name)) is Decision.GO_ON:
            self._train(lane, run)
        else:
            self._recorder.left(run.trial, failure)
            self._leave(lane)
            self.free.append(lane)

    def _started(self, lane: Lane, run: Run) -> Started:
        rows = self._recorder.records[run.trial].epochs[: run.epochs]
        node = f"node-{lane.number // LANES_A_NODE}"
        return Started("simulated", 0, 0, build_seconds=0.0, sampling={}, rows=rows, nodes=(node,))

    def _leave(self, lane: Lane) -> None:
        lane.run = None
        self._running -= 1

    def _plan_loss(self, node: list[Lane]) -> None:
        seconds = self._faults.seconds_to_loss(self._chance)
        if math.isfinite(seconds):
            self._in(seconds, lambda: self._lose(node))

    def _lose(self, node: list[Lane]) -> None:
        """Take the node's lanes away for REPAIR_SECONDS.

        Its trials go on from their last epoch. On every second lane, that epoch's checkpoint had not been sent yet, so
        the trial goes on from the epoch before.
        """
        self.losses += 1
        for lane in node:
            lane.life += 1
            if lane.run is None:
                self.free.remove(lane)
                continue
            run = lane.run
            run.epochs = max(run.epochs - lane.number % 2, 0)
            self.lost.append(run)
            self._leave(lane)
        self._in(REPAIR_SECONDS, lambda: self._repair(node))

    def _repair(self, node: list[Lane]) -> None:
        self.free.extend(node)
        self._plan_loss(node)
