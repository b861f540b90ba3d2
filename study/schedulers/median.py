"""The median stopping rule."""

import math
from bisect import insort
from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

from study.schedulers.scheduler import Decision, NeverPausing, best

FEWEST = 3
"""Others that must have reached an epoch before anybody is stopped there."""


class MedianRule(NeverPausing):
    """A trial stops where its best score so far is below the median, over the others, of the mean of their scores up
    to the same epoch (Golovin et al. 2017, Google Vizier, section 3.2.2). No rungs: all epochs from `min_epochs` on."""

    def __init__(self, min_epochs: int):
        self._min_epochs = min_epochs
        self._means: dict[int, list[float]] = defaultdict(list)
        """By epoch, in order."""
        self._reached: dict[int, int] = defaultdict(int)
        """By trial, the last epoch whose mean is there."""

    def judge(self, trial: int, scores: Sequence[float]) -> Decision:
        epoch = len(scores)
        again = self._reached[trial] >= epoch  # its lane was lost, and the epoch trained anew
        means = self._means[epoch]
        stops = not again and epoch >= self._min_epochs and len(means) >= FEWEST and best(scores) < _median(means)
        self.remember(trial, scores)
        return Decision.STOP if stops else Decision.GO_ON

    def remember(self, trial: int, scores: Sequence[float]) -> None:
        for epoch in range(self._reached[trial] + 1, len(scores) + 1):
            known = [score for score in scores[:epoch] if not math.isnan(score)]
            if known:
                insort(self._means[epoch], fmean(known))
            self._reached[trial] = epoch


def _median(ordered: list[float]) -> float:
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
