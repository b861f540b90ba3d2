"""fANOVA: how much of the score's variance each choice explains by itself.

Hutter, Hoos & Leyton-Brown 2014, "An Efficient Approach for Assessing Hyperparameter Importance" (ICML), as in Optuna's
evaluator, with three differences. Learning rates are on their logarithm, every named choice has the same weight, and a
choice that only some trials have is examined in those. A random forest models the score. Each of its trees is constant
on boxes, so the mean over all other choices is exact. Variance that no choice explains by itself comes from choices
together.
"""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis import ranking
from analysis.hyperparameters.importance import ENOUGH_TRIALS, Dimension, dimensions
from analysis.scores.ratios import Array

TREES = 64
DEPTH = 64
"""The maximum depth of a tree; it and TREES are as in Optuna."""
MIN_TRIALS = 10
MAX_TRIALS = 1000
"""The most trials that a forest is fitted to; of more, an even sample.

What a forest would learn from thousands of trials is already in the sample.
"""
COLUMNS = ("choice", "share", "trials")


def variance_shares(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the share of the score's variance that each choice explains, the largest first.

    Columns: `choice`, `share`, and `trials` (how many have the choice). The variance is that among the trials that have
    the choice, if each of its values were equally likely.

    `trials` as `analysis.hyperparameters.effects.comparable` returns them. A choice that fewer than MIN_TRIALS
    trials have is left out; the table is empty if there are fewer trials than that.
    """
    shares: dict[frozenset[Any], dict[str, float]] = {}
    rows = []
    for name in dimensions(trials):
        having = trials[trials[name].notna()]
        having.attrs = trials.attrs
        if len(having) < MIN_TRIALS:
            continue
        same = frozenset(having.index)  # most choices are in every trial: one forest serves them all
        if same not in shares:
            shares[same] = _shares(having)
        if name in shares[same]:
            rows.append((name, shares[same][name], len(having)))
    return pd.DataFrame(rows, columns=COLUMNS).sort_values("share", ascending=False, ignore_index=True)


def warning(trials: pd.DataFrame) -> str:
    """Return a sentence on why the shares should not be trusted, or an empty string if they can be."""
    few = len(trials) < ENOUGH_TRIALS
    return f"Only {len(trials)} searched trials have a score: a hint, not a finding." if few else ""


def _shares(trials: pd.DataFrame) -> dict[str, float]:
    """Return the share of each choice that all of these trials have and that varies among them."""
    trials = trials[:: -(-len(trials) // MAX_TRIALS)]
    axes = [_Axis(name, of) for name, of in dimensions(trials).items() if trials[name].notna().all()]
    axes = [axis for axis in axes if axis.of.choices or trials[axis.name].nunique() > 1]
    scores = trials[ranking.objective(trials).metric].to_numpy(float)
    if not axes or np.ptp(scores) == 0:
        return {}
    trees = _trees(np.column_stack([axis.columns(trials[axis.name]) for axis in axes]), scores)
    found = np.array([_of_tree(tree, axes) for tree in trees])
    return dict(zip([axis.name for axis in axes], np.nanmean(found, axis=0).tolist(), strict=True))


@dataclass(frozen=True)
class _Axis:
    """A choice as the forest sees it: a number from 0 to 1, or one column for each name, 1 if it is chosen."""

    name: str
    of: Dimension

    @property
    def width(self) -> int:
        return len(self.of.choices) or 1

    def columns(self, values: pd.Series) -> Array:
        if self.of.choices:
            return np.stack([(values == choice).to_numpy(float) for choice in self.of.choices], axis=1)
        scale = np.log if self.of.log else np.asarray
        low, high = float(scale(self.of.low)), float(scale(self.of.high))
        return ((scale(values.to_numpy(float)) - low) / ((high - low) or 1.0)).clip(0, 1)[:, None]

    def extents(self, low_LC: Array, high_LC: Array) -> Array:
        """Return how much of the axis each of L boxes covers: (L,)."""
        if self.of.choices:
            return self._holds(low_LC, high_LC).mean(axis=1)
        return high_LC[:, 0].clip(0, 1) - low_LC[:, 0].clip(0, 1)

    def added(self, low_LC: Array, high_LC: Array, weight_L: Array) -> tuple[Array, Array]:
        """Return the summed weights of the boxes over each cell of the axis, and how much of the axis each cell is.

        A cell is a name, or the stretch between two neighbouring sides of boxes.
        """
        if self.of.choices:
            return weight_L @ self._holds(low_LC, high_LC), np.full(self.width, 1 / self.width)
        low_L, high_L = low_LC[:, 0].clip(0, 1), high_LC[:, 0].clip(0, 1)
        edges = np.unique([0.0, 1.0, *low_L, *high_L])
        begun, ended = (np.bincount(np.searchsorted(edges, at), weight_L, len(edges)) for at in (low_L, high_L))
        return np.cumsum(begun - ended)[:-1], np.diff(edges)

    def _holds(self, low_LC: Array, high_LC: Array) -> Array:
        """Return whether each box holds each name, as 1 or 0: (L, names)."""
        chosen = np.eye(self.width)
        inside = (low_LC[:, None] < chosen) & (chosen <= high_LC[:, None])
        return inside.all(axis=2).astype(float)


@dataclass(frozen=True)
class _Boxes:
    """The leaves of a tree: boxes in each of which it is constant."""

    low_LC: Array
    high_LC: Array
    """Upper bounds; a column's value is above `low` and at most `high`."""
    value_L: Array


def _trees(columns_NC: Array, scores_N: Array) -> list[_Boxes]:
    # Imported here because it takes a second, and no other figure needs it.
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(n_estimators=TREES, max_depth=DEPTH, random_state=0)
    forest.fit(columns_NC, scores_N)
    return [_boxes(one.tree_, columns_NC.shape[1]) for one in forest.estimators_]


def _boxes(tree: Any, columns: int) -> _Boxes:
    low, high = (np.full((tree.node_count, columns), bound) for bound in (-math.inf, math.inf))
    for node in np.flatnonzero(tree.children_left >= 0):  # a node comes before its children
        left, right = tree.children_left[node], tree.children_right[node]
        column, threshold = tree.feature[node], tree.threshold[node]
        low[[left, right]], high[[left, right]] = low[node], high[node]
        high[left, column] = low[right, column] = threshold
    leaves = tree.children_left < 0
    return _Boxes(low[leaves], high[leaves], tree.value[leaves, 0, 0])


def _of_tree(tree: _Boxes, axes: list[_Axis]) -> list[float]:
    """Return each axis's share of the tree's variance, or NaN if that variance is zero."""
    ends = np.cumsum([0, *(axis.width for axis in axes)])
    sides = [(tree.low_LC[:, a:b], tree.high_LC[:, a:b]) for a, b in itertools.pairwise(ends)]
    extents_LA = np.stack([axis.extents(*side) for axis, side in zip(axes, sides, strict=True)], axis=1)
    volumes_L = extents_LA.prod(axis=1)
    mean = tree.value_L @ volumes_L
    variance = (tree.value_L - mean) ** 2 @ volumes_L
    if variance <= 0:
        return [math.nan] * len(axes)
    shares = []
    for place, (axis, side) in enumerate(zip(axes, sides, strict=True)):
        others_L = np.delete(extents_LA, place, axis=1).prod(axis=1)
        marginal, sizes = axis.added(*side, tree.value_L * others_L)
        shares.append(float((marginal - mean) ** 2 @ sizes / variance))
    return shares
