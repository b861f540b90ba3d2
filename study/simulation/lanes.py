"""Simulated lanes: an event loop with a virtual clock in place of Tune's controller and Ray's processes."""

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from seg.experiment import Experiment
from study.messages import Started
from study.objective import Objective
from study.recorder import Recorder
from study.schedulers import Decision
from study.search import Proposal, Search
from study.simulation.clock import VirtualClock
from study.simulation.course import Course, Curves, row
from study.simulation.faults import LANES_A_NODE, REPAIR_SECONDS, Faults

BEGIN_SECONDS = 0.2
"""From the command to the first step, on a warm lane: see tests/benchmarks/bench_lanes.py."""


@dataclass
class Run:
    """A trial on its lane."""

    trial: int
    experiment: Experiment
    course: Course
    epochs: int
    """Behind it, as its checkpoint has them."""
    begun: bool = False
    """Whether this lane has reported of it."""


@dataclass
class Lane:
    number: int
    pace: float
    run: Run | None = None
    life: int = 0
    """Counts the losses of its node: what was to happen before one does not happen any more."""


@dataclass(order=True)
class Event:
    seconds: float
    number: int
    happen: Callable[[], None] = field(compare=False)


class Lanes:
    """Runs a search to its end, as study.tune_loop does on real lanes: the same questions in the same order."""

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
        """Trials whose node went: the next free lanes go on with them, as Tune's do."""
        self._events: list[Event] = []
        self._happened = 0
        self._running = 0
        self.results = self.losses = 0
        self.busy_seconds = 0.0
        for first in range(0, lanes, LANES_A_NODE):
            self._plan_loss(self._lanes[first : first + LANES_A_NODE])

    def events(self) -> Iterator[None]:
        """All that happens, until no trial is left. After each event every free lane has been offered a trial."""
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
        """Its next epoch."""
        seconds, life = float(run.course.seconds_E[run.epochs]) * lane.pace, lane.life

        def report() -> None:
            if lane.life == life:
                self._report(lane, run, seconds)

        self._in(seconds + more_seconds, report)

    def _report(self, lane: Lane, run: Run, seconds: float) -> None:
        self.results += 1
        self.busy_seconds += seconds
        epoch, course = run.epochs + 1, run.course
        result: dict[str, Any] = {} if run.begun else self._started(lane, run)
        failure = course.failure if course.fails_in == epoch else None
        if failure:
            result |= {"failure": failure, "done": True}
        else:
            epochs = row(course, epoch, seconds, run.experiment, self._objective)
            result |= {"row": epochs, "files": {}, "done": epoch == run.experiment.epochs}
        run.begun, run.epochs = True, epoch
        if self._recorder.result(run.trial, result) is Decision.GO_ON:
            self._train(lane, run)
        else:
            self._recorder.left(run.trial, failure)
            self._leave(lane)
            self.free.append(lane)

    def _started(self, lane: Lane, run: Run) -> dict[str, Any]:
        rows = self._recorder.records[run.trial].epochs[: run.epochs]
        node = f"node-{lane.number // LANES_A_NODE}"
        started = Started("simulated", 0, 0, build_seconds=0.0, sampling={}, rows=rows, nodes=(node,))
        return {"started": started, "lane": f"lane-{lane.number}"}

    def _leave(self, lane: Lane) -> None:
        lane.run = None
        self._running -= 1

    def _plan_loss(self, node: list[Lane]) -> None:
        seconds = self._faults.seconds_to_loss(self._chance)
        if math.isfinite(seconds):
            self._in(seconds, lambda: self._lose(node))

    def _lose(self, node: list[Lane]) -> None:
        """Its trials go on from their last epochs; of every second one that epoch's checkpoint was still on its way."""
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
