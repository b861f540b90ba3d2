"""A rung: the epoch at which trials are compared, and the best score that each had by then."""

import math
from bisect import bisect_left, insort
from collections.abc import Iterator


def milestones(first: int, factor: int, epochs: int) -> Iterator[int]:
    """Epochs of the rungs below `epochs`: `first`, and each next one `factor` times as far."""
    while first < epochs:
        yield first
        first *= factor


class Rung:
    """Scores in order, so that a trial more costs no pass over those before it."""

    def __init__(self, epoch: int):
        self.epoch = epoch
        self._place: dict[int, tuple[float, int]] = {}
        self._order: list[tuple[float, int]] = []
        """Best first; of equal scores the smaller trial number."""

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, trial: int) -> bool:
        return trial in self._place

    def add(self, trial: int, score: float) -> None:
        """Once a trial."""
        self._place[trial] = (-score, trial)
        insort(self._order, self._place[trial])

    def place(self, trial: int) -> tuple[float, int]:
        """By which trials sort, the best first."""
        return self._place[trial]

    def rank(self, trial: int) -> int:
        """0 for the best."""
        return bisect_left(self._order, self._place[trial])

    def cutoff(self, factor: int) -> float:
        """The score that the best 1 / `factor` reach: the quantile of that order, linear between two scores; minus
        infinity on an empty rung."""
        if not self._order:
            return -math.inf
        place = (len(self._order) - 1) / factor
        above = math.floor(place)
        below = min(above + 1, len(self._order) - 1)
        high, low = -self._order[above][0], -self._order[below][0]
        return high + (low - high) * (place - above)
