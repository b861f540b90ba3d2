"""Ratios of stored counts: tp, fp, fn, tn and soft sums of each image and class, as `analysis.load.counts` has them.

One rule for the empty mask: with two classes, empty against empty is 1 (the ISIC rule); with more, a class that is in
neither truth nor prediction is left out of the mean.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array = NDArray[np.float64]

HARD = ("tp", "fp", "fn", "tn")
SOFT = ("soft_intersection", "soft_prediction", "soft_target")


@dataclass(frozen=True)
class Sums:
    """Of N images and C classes, or pooled, without the first axis, or of many samples of images, one a row."""

    hard: Array
    """(N, C, 4): true positives, false positives, false negatives, true negatives, in pixels."""
    soft: Array
    """(N, C, 3): Σ p·t, Σ p and Σ t."""

    @property
    def pooled(self) -> "Sums":
        """Added over the images."""
        return Sums(self.hard.sum(0), self.soft.sum(0))

    @property
    def foreground(self) -> "Sums":
        """Without class 0."""
        return Sums(self.hard[..., 1:, :], self.soft[..., 1:, :])

    @property
    def micro(self) -> "Sums":
        """Added over the classes, as if they were one."""
        return Sums(self.hard.sum(-2), self.soft.sum(-2))

    def of(self, index: int) -> "Sums":
        """Of one class."""
        return Sums(self.hard[..., index, :], self.soft[..., index, :])


def sums(counts: pd.DataFrame) -> Sums:
    """Of a table with one row an image and class. ValueError where an image stands there twice, as at two sizes."""
    ordered = counts.sort_values(["id", "class"])
    if ordered.duplicated(["id", "class"]).any():
        raise ValueError("counts: an image has a class twice; give the rows of one split and one size")
    shape = (ordered["id"].nunique(), ordered["class"].nunique(), -1)
    hard, soft = (ordered[list(names)].to_numpy(np.float64).reshape(shape) for names in (HARD, SOFT))
    return Sums(hard, soft)


def quotient(numerator: Array, denominator: Array) -> Array:
    """`numerator / denominator`, missing where there is nothing to divide by."""
    empty = np.full(np.shape(denominator), np.nan)
    return np.divide(numerator, denominator, out=empty, where=denominator > 0)


def iou(of: Sums) -> Array:
    """TP / (TP + FP + FN)"""
    tp, fp, fn, _ = np.moveaxis(of.hard, -1, 0)
    return quotient(tp, tp + fp + fn)


def dice(of: Sums) -> Array:
    """2 TP / (2 TP + FP + FN)"""
    tp, fp, fn, _ = np.moveaxis(of.hard, -1, 0)
    return quotient(2 * tp, 2 * tp + fp + fn)


def accuracy(of: Sums) -> Array:
    """(TP + TN) / all"""
    tp, fp, fn, tn = np.moveaxis(of.hard, -1, 0)
    return quotient(tp + tn, tp + fp + fn + tn)


def sensitivity(of: Sums) -> Array:
    """TP / (TP + FN); of a class among several, its accuracy."""
    tp, _, fn, _ = np.moveaxis(of.hard, -1, 0)
    return quotient(tp, tp + fn)


def specificity(of: Sums) -> Array:
    """TN / (TN + FP)"""
    _, fp, _, tn = np.moveaxis(of.hard, -1, 0)
    return quotient(tn, tn + fp)


def soft_iou(of: Sums) -> Array:
    """Σpt / (Σp + Σt - Σpt)"""
    overlap, prediction, truth = np.moveaxis(of.soft, -1, 0)
    return quotient(overlap, prediction + truth - overlap)


def soft_dice(of: Sums) -> Array:
    """2 Σpt / (Σp + Σt)"""
    overlap, prediction, truth = np.moveaxis(of.soft, -1, 0)
    return quotient(2 * overlap, prediction + truth)


def present(of: Sums, ratios: Array) -> Array:
    """`ratios`, missing for a class in neither truth nor prediction: its soft sums are small, but hardly ever 0."""
    return np.where(of.hard[..., :3].sum(-1) > 0, ratios, np.nan)


def full(ratios: Array) -> Array:
    """Empty against empty is 1."""
    return np.where(np.isnan(ratios), 1.0, ratios)


def mean(ratios: Array) -> Array:
    """Over the last axis, without what is missing; missing where all is."""
    known = ~np.isnan(ratios)
    return quotient(np.where(known, ratios, 0.0).sum(-1), known.sum(-1).astype(np.float64))
