"""How much of the score's variance each choice explains by itself: fANOVA.

Hutter, Hoos & Leyton-Brown 2014, "An Efficient Approach for Assessing Hyperparameter Importance" (ICML), as Optuna's
evaluator does it, but with learning rates on their logarithm, every named choice with the same weight, and choices that
only some trials have looked at in those. A random forest stands for the score: each of its trees is constant on boxes,
so that the mean over all other choices is exact. What the choices do not explain one by one, they do together.
"""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis import compare
from analysis.importance import ENOUGH_TRIALS, Dimension, dimensions
from analysis.ratios import Array

TREES = 64
DEPTH = 64
"""As Optuna has both."""
FEWEST_TRIALS = 10
MOST_TRIALS = 1000
"""Of more, an even sample: what a forest learns of thousands is in these."""
COLUMNS = ("choice", "share", "trials")


def variance_shares(trials: pd.DataFrame) -> pd.DataFrame:
    """Columns `choice`, `share` (of the variance of the score among the trials that have the choice, each value taken
    to be as likely as any other), `trials` (how many have it); the largest first.

    `trials` as `analysis.effects.comparable` gives them. Empty where there are fewer than FEWEST_TRIALS, a choice is
    left out where fewer have it."""
    shares: dict[frozenset[Any], dict[str, float]] = {}
    rows = []
    for name in dimensions(trials):
        having = trials[trials[name].notna()]
        having.attrs = trials.attrs
        if len(having) < FEWEST_TRIALS:
            continue
        same = frozenset(having.index)  # most choices are made by every trial: one forest serves them all
        if same not in shares:
            shares[same] = _shares(having)
        if name in shares[same]:
            rows.append((name, shares[same][name], len(having)))
    return pd.DataFrame(rows, columns=COLUMNS).sort_values("share", ascending=False, ignore_index=True)


def warning(trials: pd.DataFrame) -> str:
    """Why the shares should not be trusted, as a sentence; empty where they may be."""
    few = len(trials) < ENOUGH_TRIALS
    return f"Only {len(trials)} searched trials have a score: a hint, not a finding." if few else ""


def _shares(trials: pd.DataFrame) -> dict[str, float]:
    """Of the choices that all of these trials have, and made differently."""
    trials = trials[:: -(-len(trials) // MOST_TRIALS)]
    axes = [_Axis(name, of) for name, of in dimensions(trials).items() if trials[name].notna().all()]
    axes = [axis for axis in axes if axis.of.choices or trials[axis.name].nunique() > 1]
    scores = trials[compare.objective(trials).metric].to_numpy(float)
    if not axes or np.ptp(scores) == 0:
        return {}
    trees = _trees(np.column_stack([axis.columns(trials[axis.name]) for axis in axes]), scores)
    found = np.array([_of_tree(tree, axes) for tree in trees])
    return dict(zip([axis.name for axis in axes], np.nanmean(found, axis=0).tolist(), strict=True))


@dataclass(frozen=True)
class _Axis:
    """A choice as the forest sees it: a number from 0 to 1, or a column for each name, 1 where it is chosen."""

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
        """(L,) how much of the axis each of L boxes holds."""
        if self.of.choices:
            return self._holds(low_LC, high_LC).mean(axis=1)
        return high_LC[:, 0].clip(0, 1) - low_LC[:, 0].clip(0, 1)

    def added(self, low_LC: Array, high_LC: Array, weight_L: Array) -> tuple[Array, Array]:
        """The weights of the boxes that lie over each cell of the axis, added, and how much of the axis each cell is:
        a name, or what lies between two sides of boxes."""
        if self.of.choices:
            return weight_L @ self._holds(low_LC, high_LC), np.full(self.width, 1 / self.width)
        low_L, high_L = low_LC[:, 0].clip(0, 1), high_LC[:, 0].clip(0, 1)
        edges = np.unique([0.0, 1.0, *low_L, *high_L])
        begun, ended = (np.bincount(np.searchsorted(edges, at), weight_L, len(edges)) for at in (low_L, high_L))
        return np.cumsum(begun - ended)[:-1], np.diff(edges)

    def _holds(self, low_LC: Array, high_LC: Array) -> Array:
        """(L, names) 1 where the box holds the name."""
        chosen = np.eye(self.width)
        inside = (low_LC[:, None] < chosen) & (chosen <= high_LC[:, None])
        return inside.all(axis=2).astype(float)


@dataclass(frozen=True)
class _Boxes:
    """A tree's leaves: in each it is constant."""

    low_LC: Array
    high_LC: Array
    """A column's value is above `low` and at most `high`."""
    value_L: Array


def _trees(columns_NC: Array, scores_N: Array) -> list[_Boxes]:
    # Imported here: it takes a second, which every other figure can do without.
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
    """Each axis' share of the tree's variance; missing where that is zero."""
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
