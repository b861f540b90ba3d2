"""Scores of many images as functions of sums over them: the same for all images, for a resample, for a part."""

import abc
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analysis.ratios import HARD, SOFT, Array, Sums, full, quotient

Ratio = Callable[[Sums], Array]


class Additive(abc.ABC):
    """A score of which each image has parts (K numbers) that are added over the images."""

    @abc.abstractmethod
    def parts(self, sums: Sums) -> Array:
        """(N, K) of N images."""

    @abc.abstractmethod
    def whole(self, totals: Array) -> Array:
        """The score, (...), of added parts, (..., K)."""

    def of(self, sums: Sums) -> float:
        return float(self.whole(self.parts(sums).sum(0)))


@dataclass(frozen=True)
class Mean(Additive):
    """The mean over the images of a `ratio` that each has; images that have none are left out."""

    ratio: Ratio
    """(N,) of N images, missing where there is none."""

    def parts(self, sums: Sums) -> Array:
        ratios_N = self.ratio(sums)
        known_N = ~np.isnan(ratios_N)
        return np.stack([np.where(known_N, ratios_N, 0.0), known_N], axis=-1)

    def whole(self, totals: Array) -> Array:
        return full(quotient(totals[..., 0], totals[..., 1]))


@dataclass(frozen=True)
class Pooled(Additive):
    """A `ratio` of the counts of all images, added up."""

    ratio: Ratio
    """(...) of sums over images, of which there may be many samples; missing where there is none."""

    def parts(self, sums: Sums) -> Array:
        both = np.concatenate([sums.hard, sums.soft], axis=-1)
        return both.reshape(len(both), -1)

    def whole(self, totals: Array) -> Array:
        both = totals.reshape(*totals.shape[:-1], -1, len(HARD) + len(SOFT))
        return self.ratio(Sums(both[..., : len(HARD)], both[..., len(HARD) :]))


@dataclass(frozen=True)
class Lowest:
    """The lowest `ratio` of an image: of no sums, and so without an interval."""

    ratio: Ratio

    def of(self, sums: Sums) -> float:
        return float(np.fmin.reduce(self.ratio(sums), initial=1.0))


Score = Mean | Pooled | Lowest
