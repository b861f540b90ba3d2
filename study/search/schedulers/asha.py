"""Asynchronous successive halving (ASHA), in two variants: one stops trials at a rung, the other pauses them there."""

import math
from bisect import insort
from collections import Counter
from collections.abc import Sequence

from study.search.schedulers.scheduler import Decision, NeverPausing, Rung, best, milestones


class StoppingAsha(NeverPausing):
    """The stopping variant of ASHA (Li et al. 2020, arXiv:1810.05934).

    A trial goes on unless its best score so far is below the best 1 / `factor` of those that reached the rung before
    it. No trial waits, and no stopped trial is resumed. This is Ray Tune's ASHAScheduler, and the default of the
    paper's authors' own system.
    """

    def __init__(self, min_epochs: int, factor: int, epochs: int):
        self._factor = factor
        self._rungs = [Rung(epoch) for epoch in milestones(min_epochs, factor, epochs)]

    def judge(self, trial: int, scores: Sequence[float]) -> Decision:
        """Judge the trial once per rung. If it crossed a rung unjudged because it was killed there, judge it now."""
        decision = Decision.GO_ON
        for rung in self._rungs:
            score = best(scores[: rung.epoch])
            if rung.epoch > len(scores) or trial in rung or math.isnan(score):
                continue
            if score < rung.cutoff(self._factor):
                decision = Decision.STOP
            rung.add(trial, score)
        return decision

    def remember(self, trial: int, scores: Sequence[float]) -> None:
        self.judge(trial, scores)


class PromotingAsha:
    """Asynchronous successive halving as published (Li et al. 2020, arXiv:1810.05934, algorithm 2).

    Every trial pauses at a rung. It may go on if it is among the best 1 / `factor` of all trials that got there. A free
    lane takes the best such trial of the highest rung, or a new trial if there is none. So no trial goes on because it
    came early or ends because it came late. A trial that may go on at once keeps its lane.
    """

    pauses = True

    def __init__(self, min_epochs: int, factor: int, epochs: int, trials: int):
        """Create the rungs. `trials`: the maximum number of trials that will ever be compared."""
        self._factor, self._trials = factor, trials
        self._rungs = [_Waiting(epoch) for epoch in milestones(min_epochs, factor, epochs)]

    def judge(self, trial: int, scores: Sequence[float]) -> Decision:
        """Pause the trial if it reaches a rung for the first time and is not promoted at once.

        A rung is judged once per trial. If the trial was judged there before its lane was lost, it passes. If it
        crossed the rung unjudged because it was killed there, it is judged now.
        """
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
        """Return the paused trial to go on next, if any.

        If `last`, the best trial of a rung may go on even if fewer than `factor` trials got there.
        """
        fewest = 1 if last else 0
        return next((rung.first for rung in reversed(self._rungs) if rung.promotes(self._factor, fewest)), None)

    def promote(self, trial: int) -> None:
        next(rung for rung in reversed(self._rungs) if trial in rung).take(trial)

    def settle(self) -> list[int]:
        """Return the paused trials that can never go on.

        Even if all `trials` reach a rung, only the best 1 / `factor` of them (at least one) go on from there.
        """
        most = max(self._trials // self._factor, 1)
        return [trial for rung in self._rungs for trial in rung.beyond(most)]

    def _reach(self, trial: int, scores: Sequence[float]) -> "_Waiting | None":
        """Return the highest rung that the trial reaches for the first time. It passes a rung if it has no score."""
        reached = None
        for rung in self._rungs:
            score = best(scores[: rung.epoch])
            if rung.epoch <= len(scores) and trial not in rung and not math.isnan(score):
                rung.add(trial, score)
                reached = rung
        return reached


class _Waiting(Rung):
    """A rung and the trials paused at it."""

    def __init__(self, epoch: int):
        super().__init__(epoch)
        self._paused: list[tuple[float, int]] = []
        """The paused trials, the best first."""

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
        """Remove and return the paused trials of this rank or worse."""
        found = []
        while self._paused and self.rank(self._paused[-1][1]) >= rank:
            found.append(self._paused.pop()[1])
        return found


class Hyperband:
    """Asynchronous Hyperband (Li et al. 2018, JMLR 18-185; asynchronous brackets: Li et al. 2020, section 3.3).

    Bracket s has its first rung at `min_epochs` times `factor`^s. The last bracket has no rung: its trials train to
    the end. This helps good trials that start slowly, which a single bracket would end. Each bracket is a
    PromotingAsha. A trial's bracket follows from its number, so that all brackets train about equally many epochs.
    """

    pauses = True

    def __init__(self, min_epochs: int, factor: int, epochs: int, trials: int):
        rungs = list(milestones(min_epochs, factor, epochs))
        self._cycle = _cycle(len(rungs), factor)
        members = Counter(self.bracket(trial) for trial in range(trials))
        firsts = [*rungs, epochs]
        self._brackets = [PromotingAsha(first, factor, epochs, members[s]) for s, first in enumerate(firsts)]

    def bracket(self, trial: int) -> int:
        return self._cycle[trial % len(self._cycle)]

    def judge(self, trial: int, scores: Sequence[float]) -> Decision:
        return self._brackets[self.bracket(trial)].judge(trial, scores)

    def remember(self, trial: int, scores: Sequence[float]) -> None:
        self._brackets[self.bracket(trial)].remember(trial, scores)

    def promotable(self, last: bool = False) -> int | None:
        found = (bracket.promotable(last) for bracket in self._brackets)
        return next((trial for trial in found if trial is not None), None)

    def promote(self, trial: int) -> None:
        self._brackets[self.bracket(trial)].promote(trial)

    def settle(self) -> list[int]:
        return [trial for bracket in self._brackets for trial in bracket.settle()]


def _cycle(rungs: int, factor: int) -> list[int]:
    """Return the brackets of consecutive trials, spread evenly.

    A bracket with k rungs appears n = ceil((rungs + 1) / (k + 1) * factor^k) times (Li et al. 2018, algorithm 1).
    """
    count = {rungs - k: math.ceil((rungs + 1) / (k + 1) * factor**k) for k in range(rungs + 1)}
    places = [((i + 0.5) / n, bracket) for bracket, n in count.items() for i in range(n)]
    return [bracket for _, bracket in sorted(places)]
