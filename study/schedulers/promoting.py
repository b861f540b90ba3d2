"""ASHA that pauses and promotes: algorithm 2 of Li et al. 2020."""

import math
from bisect import insort
from collections.abc import Sequence

from study.schedulers.rung import Rung, milestones
from study.schedulers.scheduler import Decision, best


class PromotingAsha:
    """Asynchronous successive halving as published (Li et al. 2020, arXiv:1810.05934, algorithm 2).

    At a rung every trial pauses. A free lane takes the best paused trial of the highest rung at which one is among the
    best 1 / `factor` of all that got there, else a new trial. So nobody goes on for having come early, and nobody ends
    for having come late; a trial that goes on at once keeps its lane.
    """

    pauses = True

    def __init__(self, min_epochs: int, factor: int, epochs: int, trials: int):
        """`trials`: at most so many will ever be compared."""
        self._factor, self._trials = factor, trials
        self._rungs = [_Waiting(epoch) for epoch in milestones(min_epochs, factor, epochs)]

    def judge(self, trial: int, scores: Sequence[float]) -> Decision:
        """A rung that it has been at before, as where its lane was lost, it passes. One that it passed unjudged, as
        where it was killed there, holds it back now."""
        reached = self._reach(trial, scores)
        if reached is None:
            return Decision.GO_ON
        reached.wait(trial)
        if self.promotable() != trial:
            return Decision.PAUSE
        self.promote(trial)
        return Decision.GO_ON

    def remember(self, trial: int, scores: Sequence[float]) -> None:
        self._reach(trial, scores)

    def promotable(self, last: bool = False) -> int | None:
        """At the end, the best of a rung goes on where so few got there that nobody else does."""
        fewest = 1 if last else 0
        return next((rung.first for rung in reversed(self._rungs) if rung.promotes(self._factor, fewest)), None)

    def promote(self, trial: int) -> None:
        next(rung for rung in reversed(self._rungs) if trial in rung).take(trial)

    def settle(self) -> list[int]:
        """Of `trials` at a rung, no more than the best 1 / `factor` can go on."""
        most = max(self._trials // self._factor, 1)
        return [trial for rung in self._rungs for trial in rung.beyond(most)]

    def _reach(self, trial: int, scores: Sequence[float]) -> "_Waiting | None":
        """The highest rung that it is at for the first time. Without a score it passes."""
        reached = None
        for rung in self._rungs:
            score = best(scores[: rung.epoch])
            if rung.epoch <= len(scores) and trial not in rung and not math.isnan(score):
                rung.add(trial, score)
                reached = rung
        return reached


class _Waiting(Rung):
    """A rung and who is paused at it."""

    def __init__(self, epoch: int):
        super().__init__(epoch)
        self._paused: list[tuple[float, int]] = []
        """Best first."""

    @property
    def first(self) -> int:
        return self._paused[0][1]

    def promotes(self, factor: int, fewest: int) -> bool:
        return bool(self._paused) and self.rank(self.first) < max(len(self) // factor, fewest)

    def wait(self, trial: int) -> None:
        insort(self._paused, self.place(trial))

    def take(self, trial: int) -> None:
        self._paused.remove(self.place(trial))

    def beyond(self, rank: int) -> list[int]:
        """Those paused of that rank or worse, taken."""
        found = []
        while self._paused and self.rank(self._paused[-1][1]) >= rank:
            found.append(self._paused.pop()[1])
        return found
