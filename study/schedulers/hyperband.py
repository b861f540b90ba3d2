"""Hyperband without waiting: brackets that differ in where their first rung is."""

import math
from collections import Counter
from collections.abc import Sequence

from study.schedulers.promoting import PromotingAsha
from study.schedulers.rung import milestones
from study.schedulers.scheduler import Decision


class Hyperband:
    """Asynchronous Hyperband (Li et al. 2018, JMLR 18-185; asynchronous brackets: Li et al. 2020, section 3.3).

    Bracket s has its first rung at `min_epochs` times `factor`^s, the last one none: its trials train to the end. For
    good trials that start slowly, which a single bracket would end. Each bracket is promoting ASHA; a trial's bracket
    follows from its number, so that all brackets train about the same number of epochs.
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
    """Brackets of consecutive trials: n = ceil((rungs + 1) / (k + 1) * factor^k) of each, k rungs ahead of it (Li et
    al. 2018, algorithm 1), spread evenly."""
    count = {rungs - k: math.ceil((rungs + 1) / (k + 1) * factor**k) for k in range(rungs + 1)}
    places = [((i + 0.5) / n, bracket) for bracket, n in count.items() for i in range(n)]
    return [bracket for _, bracket in sorted(places)]
