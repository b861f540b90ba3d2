"""Ratios of stored counts: tp, fp, fn, tn, and soft sums of each image and class.

The counts are those of `analysis.load.counts`.

There is one rule for the empty mask. With two classes, empty against empty is 1 (the ISIC rule). With more, a class
that is in neither truth nor prediction is left out of the mean.
"""

import abc
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[np.float64]

HARD = ("tp", "fp", "fn", "tn")
SOFT = ("soft_intersection", "soft_prediction", "soft_target")


@dataclass(frozen=True)
class Sums:
    """The counts of N images and C classes.

    Pooled counts do not have the first axis. For many samples of images, the first axis has one row for each sample.
    """

    hard: Array
    """True positives, false positives, false negatives, and true negatives, in pixels: (N, C, 4)."""
    soft: Array
    """Σ p·t, Σ p, and Σ t: (N, C, 3)."""

    @property
    def pooled(self) -> "Sums":
        """Return the sums added over the images."""
        return Sums(self.hard.sum(0), self.soft.sum(0))

    @property
    def foreground(self) -> "Sums":
        """Return the sums without class 0."""
        return Sums(self.hard[..., 1:, :], self.soft[..., 1:, :])

    @property
    def micro(self) -> "Sums":
        """Return the sums added over the classes, as if they were one."""
        return Sums(self.hard.sum(-2), self.soft.sum(-2))

    def of(self, index: int) -> "Sums":
        """Return the sums of one class."""
        return Sums(self.hard[..., index, :], self.soft[..., index, :])


def sums(counts: pd.DataFrame) -> Sums:
    """Return the sums of a table with one row for each image and class.

    Raises ValueError if an image has a class twice, as at two sizes.
    """
    ordered = counts.sort_values(["id", "class"])
    if ordered.duplicated(["id", "class"]).any():
        raise ValueError("counts: an image has a class twice; give the rows of one split and one size")
    shape = (ordered["id"].nunique(), ordered["class"].nunique(), -1)
    hard, soft = (ordered[list(names)].to_numpy(np.float64).reshape(shape) for names in (HARD, SOFT))
    return Sums(hard, soft)


def quotient(numerator: Array, denominator: Array) -> Array:
    """Return `numerator / denominator`, or NaN if there is nothing to divide by."""
    empty = np.full(np.shape(denominator), np.nan)
    return np.divide(numerator, denominator, out=empty, where=denominator > 0)


def iou(of: Sums) -> Array:
    """Return TP / (TP + FP + FN)."""
    tp, fp, fn, _ = np.moveaxis(of.hard, -1, 0)
    return quotient(tp, tp + fp + fn)


def dice(of: Sums) -> Array:
    """Return 2 TP / (2 TP + FP + FN)."""
    tp, fp, fn, _ = np.moveaxis(of.hard, -1, 0)
    return quotient(2 * tp, 2 * tp + fp + fn)


def accuracy(of: Sums) -> Array:
    """Return (TP + TN) / all."""
    tp, fp, fn, tn = np.moveaxis(of.hard, -1, 0)
    return quotient(tp + tn, tp + fp + fn + tn)


def sensitivity(of: Sums) -> Array:
    """Return TP / (TP + FN); for one class among several, this is its accuracy."""
    tp, _, fn, _ = np.moveaxis(of.hard, -1, 0)
    return quotient(tp, tp + fn)


def specificity(of: Sums) -> Array:
    """Return TN / (TN + FP)."""
    _, fp, _, tn = np.moveaxis(of.hard, -1, 0)
    return quotient(tn, tn + fp)


def soft_iou(of: Sums) -> Array:
    """Return Σpt / (Σp + Σt - Σpt)."""
    overlap, prediction, truth = np.moveaxis(of.soft, -1, 0)
    return quotient(overlap, prediction + truth - overlap)


def soft_dice(of: Sums) -> Array:
    """Return 2 Σpt / (Σp + Σt)."""
    overlap, prediction, truth = np.moveaxis(of.soft, -1, 0)
    return quotient(2 * overlap, prediction + truth)


def present(of: Sums, ratios: Array) -> Array:
    """Return `ratios` with NaN for a class in neither truth nor prediction.

    The hard counts decide: the soft sums of such a class are small, but hardly ever 0.
    """
    return np.where(of.hard[..., :3].sum(-1) > 0, ratios, np.nan)


def full(ratios: Array) -> Array:
    """Return `ratios` with 1 for NaN: empty against empty is 1."""
    return np.where(np.isnan(ratios), 1.0, ratios)


def mean(ratios: Array) -> Array:
    """Return the mean over the last axis without NaN, or NaN if all values are."""
    known = ~np.isnan(ratios)
    return quotient(np.where(known, ratios, 0.0).sum(-1), known.sum(-1).astype(np.float64))


Ratio = Callable[[Sums], Array]


class Additive(abc.ABC):
    """A score computed from parts (K numbers for each image) that are added over the images."""

    @abc.abstractmethod
    def parts(self, sums: Sums) -> Array:
        """Return the parts of N images: (N, K)."""

    @abc.abstractmethod
    def whole(self, totals: Array) -> Array:
        """Return the score of summed parts: totals of shape (..., K) give scores of shape (...)."""

    def of(self, sums: Sums) -> float:
        return float(self.whole(self.parts(sums).sum(0)))


@dataclass(frozen=True)
class Mean(Additive):
    """The mean over the images of each image's `ratio`; images without one are left out."""

    ratio: Ratio
    """The ratio of each of N images, (N,); NaN if it is undefined."""

    def parts(self, sums: Sums) -> Array:
        ratios_N = self.ratio(sums)
        known_N = ~np.isnan(ratios_N)
        return np.stack([np.where(known_N, ratios_N, 0.0), known_N], axis=-1)

    def whole(self, totals: Array) -> Array:
        return full(quotient(totals[..., 0], totals[..., 1]))


@dataclass(frozen=True)
class Pooled(Additive):
    """A `ratio` of the counts added over all images."""

    ratio: Ratio
    """The ratio, (...), of sums over images, possibly of many samples; NaN if it is undefined."""

    def parts(self, sums: Sums) -> Array:
        both = np.concatenate([sums.hard, sums.soft], axis=-1)
        return both.reshape(len(both), -1)

    def whole(self, totals: Array) -> Array:
        both = totals.reshape(*totals.shape[:-1], -1, len(HARD) + len(SOFT))
        return self.ratio(Sums(both[..., : len(HARD)], both[..., len(HARD) :]))


@dataclass(frozen=True)
class Lowest:
    """The lowest `ratio` of any image: it is not a function of sums, so it has no interval."""

    ratio: Ratio

    def of(self, sums: Sums) -> float:
        return float(np.fmin.reduce(self.ratio(sums), initial=1.0))


Score = Mean | Pooled | Lowest
