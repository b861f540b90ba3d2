"""The interface of every scheduler, what schedulers share, and the schedulers without rungs.

A scheduler knows only the trials' numbers and their scores by epoch. It does not know Ray Tune, so that real and
simulated studies use the same object.
"""

import enum
import math
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Protocol


class Decision(enum.Enum):
    """The decision about a trial after an epoch."""

    GO_ON = enum.auto()
    STOP = enum.auto()
    PAUSE = enum.auto()
    """The lane takes another trial. The paused one may go on later from its checkpoint, on any lane."""


class Scheduler(Protocol):
    """The interface of a scheduler.

    `scores` are those of a trial's epochs from the first on: higher is better, NaN if an epoch has none.
    """

    pauses: bool
    """Whether the scheduler ever decides to pause a trial."""

    def judge(self, trial: int, scores: Sequence[float]) -> Decision:
        """Decide about a trial after an epoch that is not its last."""

    def remember(self, trial: int, scores: Sequence[float]) -> None:
        """Note the scores of a trial from earlier. Nothing is decided about it, and it does not count as paused."""

    def promotable(self, last: bool = False) -> int | None:
        """Return the paused trial to go on next, if any. `last`: whether no trial runs and no new one will begin."""

    def promote(self, trial: int) -> None:
        """Note that a paused trial goes on."""

    def settle(self) -> list[int]:
        """Return the paused trials that cannot go on, whatever the others do. They no longer count as paused."""


class NeverPausing:
    """A mixin for schedulers that never pause a trial."""

    pauses = False

    def promotable(self, last: bool = False) -> int | None:
        return None

    def promote(self, trial: int) -> None:
        raise ValueError(f"trial {trial} is not paused")

    def settle(self) -> list[int]:
        return []


class AllEpochs(NeverPausing):
    """The scheduler without early stopping."""

    def judge(self, trial: int, scores: Sequence[float]) -> Decision:
        return Decision.GO_ON

    def remember(self, trial: int, scores: Sequence[float]) -> None:
        """Do nothing: trials are not compared with each other."""


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


def best(scores: Sequence[float]) -> float:
    """Return the best score; NaN if no epoch has one."""
    return max((score for score in scores if not math.isnan(score)), default=math.nan)


def milestones(first: int, factor: int, epochs: int) -> Iterator[int]:
    """Yield the epochs of the rungs below `epochs`: `first`, then each one `factor` times the one before."""
    while first < epochs:
        yield first
        first *= factor


class Rung:
    """An epoch at which trials are compared, and the best score that each had by then.

    The scores are kept sorted, so that adding a trial needs no pass over the others.
    """

    def __init__(self, epoch: int):
        self.epoch = epoch
        self._place: dict[int, tuple[float, int]] = {}
        self._order: list[tuple[float, int]] = []
        """The trials, the best first. Of equal scores, the smaller trial number comes first."""

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, trial: int) -> bool:
        return trial in self._place

    def add(self, trial: int, score: float) -> None:
        """Add a trial's score. Call this once per trial."""
        self._place[trial] = (-score, trial)
        insort(self._order, self._place[trial])

    def place(self, trial: int) -> tuple[float, int]:
        """Return the key by which trials are sorted, the best first."""
        return self._place[trial]

    def rank(self, trial: int) -> int:
        """Return the trial's rank; 0 is the best."""
        return bisect_left(self._order, self._place[trial])

    def cutoff(self, factor: int) -> float:
        """Return the score that the best 1 / `factor` of the trials reach; minus infinity if the rung is empty.

        This is a quantile, interpolated linearly between two scores.
        """
        if not self._order:
            return -math.inf
        place = (len(self._order) - 1) / factor
        above = math.floor(place)
        below = min(above + 1, len(self._order) - 1)
        high, low = -self._order[above][0], -self._order[below][0]
        return high + (low - high) * (place - above)
