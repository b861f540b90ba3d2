"""The median stopping rule."""

import math
from bisect import insort
from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

from study.search.schedulers.scheduler import Decision, NeverPausing, best

MIN_OTHER_TRIALS = 3
"""The minimum number of other trials at an epoch before a trial can be stopped there."""


class MedianRule(NeverPausing):
    """The median stopping rule (Golovin et al. 2017, Google Vizier, section 3.2.2).

    A trial stops if its best score so far is below the median of the other trials' mean scores up to the same epoch.
    There are no rungs: the rule applies at every epoch from `min_epochs` on.
    """

    def __init__(self, min_epochs: int):
        self._min_epochs = min_epochs
        self._means: dict[int, list[float]] = defaultdict(list)
        """The trials' mean scores up to each epoch, sorted."""
        self._reached: dict[int, int] = defaultdict(int)
        """For each trial, the last epoch at which its mean is in `_means`."""

    def judge(self, trial: int, scores: Sequence[float]) -> Decision:
        epoch = len(scores)
        again = self._reached[trial] >= epoch  # its lane was lost, and the epoch was trained again
        means = self._means[epoch]
        judged = not again and epoch >= self._min_epochs and len(means) >= MIN_OTHER_TRIALS
        stops = judged and best(scores) < _median(means)
        self.remember(trial, scores)
        return Decision.STOP if stops else Decision.GO_ON

    def remember(self, trial: int, scores: Sequence[float]) -> None:
        for epoch in range(self._reached[trial] + 1, len(scores) + 1):
            known = [score for score in scores[:epoch] if not math.isnan(score)]
            if known:
                insort(self._means[epoch], fmean(known))
            self._reached[trial] = epoch


def _median(ordered: list[float]) -> float:
    """Return the median of sorted values. statistics.median would sort those of all trials again at every epoch."""
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
