"""A linear model of the trials' scores: its columns, and a test of whether some of them matter.

A named choice has one column for each name except the first. A number has a line and a parabola, on the logarithm if it
was searched that way.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd

from analysis import ranking
from analysis.hyperparameters.importance import Dimension
from analysis.scores.ratios import Array

Scale = Literal["names", "linear", "log"]

PERMUTATIONS = 2000
CHUNK_NUMBERS = 5_000_000
MIN_FREE = 6
"""The fewest trials beyond the number of estimated coefficients; with fewer, nothing is estimated."""
GRID = 15
"""The number of values at which the effect of a numeric choice is given."""


def axis_scale(dimension: Dimension) -> Scale:
    return "names" if dimension.choices else "log" if dimension.log else "linear"


def trials_with(trials: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the trials that have the choice."""
    kept = trials[trials[name].notna()]
    kept.attrs = trials.attrs
    return kept


def score_vector(trials: pd.DataFrame) -> Array:
    return trials[ranking.objective(trials).metric].to_numpy(float)


def linear_bases(trials: pd.DataFrame, known: Mapping[str, Dimension], without: Sequence[str] = ()) -> dict[str, Array]:
    """Return the columns of the linear model by choice, each with mean 0 over the trials.

    `known`: the dimensions of the choices. `without`: the choices to leave out.
    """
    found = {}
    for name, dimension in known.items():
        columns = design_columns(trials[name], dimension)
        if name not in without and columns.shape[1]:
            found[name] = columns - columns.mean(axis=0)
    return found


def design_columns(values: pd.Series, dimension: Dimension) -> Array:
    """Return the columns of one choice, not yet centred; they are zero for a trial without it.

    Names have one column for each name except the first. Numbers are scaled to -1 to 1, and their square is added if
    more than two were tried.
    """
    known = values.notna().to_numpy()
    if dimension.choices:
        tried = [choice for choice in dimension.choices if (values[known] == choice).any()]
        levels = [(values == choice).fillna(False).to_numpy(float) for choice in tried[1:]]
        return np.stack(levels, axis=1) if levels else np.zeros((len(values), 0))
    places = np.zeros(len(values))
    places[known] = _places(values[known].to_numpy(float), dimension)
    distinct = len(np.unique(places[known]))
    powers = [places, np.where(known, places**2, 0.0)][: max(distinct - 1, 0)]
    return np.stack(powers, axis=1) if powers else np.zeros((len(values), 0))


def _places(values: Array, dimension: Dimension) -> Array:
    scale = np.log if dimension.log else np.asarray
    low, high = float(scale(dimension.low)), float(scale(dimension.high))
    return 2 * (scale(values) - low) / ((high - low) or 1.0) - 1


def value_grid(values: pd.Series, dimension: Dimension) -> tuple[list[object], Array]:
    """Return the values at which the effect is given, and their columns, not yet centred."""
    if dimension.choices:
        tried = [choice for choice in dimension.choices if (values == choice).any()]
        return list(tried), np.eye(len(tried))[:, 1:]
    low, high = float(values.min()), float(values.max())
    grid = np.geomspace(low, high, GRID) if dimension.log else np.linspace(low, high, GRID)
    places = _places(grid, dimension)
    width = design_columns(values, dimension).shape[1]
    return list(grid), np.stack([places, places**2], axis=1)[:, :width]


def permutation_p_value(scores: Array, reduced: Array, own: Array) -> float | None:
    """Return the permutation p-value of the columns `own`, given `reduced`.

    The residuals of the model without `own` are shuffled, and the model with `own` is fitted again. None if too few
    trials are left over.

    Freedman & Lane 1983, "A Nonstochastic Interpretation of Reported Significance Levels", Journal of Business &
    Economic Statistics 1(4); as in Winkler et al. 2014, NeuroImage 92, which finds it the best of its kind.
    """
    base, full = _orthonormal(reduced), _orthonormal(np.column_stack([reduced, own]))
    added = full.shape[1] - base.shape[1]
    if added == 0 or len(scores) - full.shape[1] < MIN_FREE:
        return None
    left = scores - base @ (base.T @ scores)
    observed, rng, reached = _explained(left[:, None], base, full)[0], np.random.default_rng(2), 1
    for count in _chunks(len(scores)):
        shuffled = rng.permuted(np.broadcast_to(left, (count, len(left))), axis=1).T
        reached += int((_explained(shuffled, base, full) >= observed - 1e-12).sum())
    return reached / (PERMUTATIONS + 1)


def _explained(left: Array, base: Array, full: Array) -> Array:
    """Return what the added columns explain of each column of `left`, divided by what they leave.

    This is the F statistic without its degrees of freedom, which are the same for all.
    """
    total = (left**2).sum(axis=0)
    by_base, by_full = ((columns.T @ left) ** 2 for columns in (base, full))
    unexplained = total - by_full.sum(axis=0)
    return (by_full.sum(axis=0) - by_base.sum(axis=0)) / np.maximum(unexplained, 1e-15 * np.maximum(total, 1e-300))


def _chunks(trials: int) -> list[int]:
    size = max(1, CHUNK_NUMBERS // trials)
    return [min(size, PERMUTATIONS - start) for start in range(0, PERMUTATIONS, size)]


def _orthonormal(columns: Array) -> Array:
    """Return an orthonormal basis of the space that the columns span."""
    left, sizes, _ = np.linalg.svd(columns, full_matrices=False)
    return left[:, sizes > 1e-9 * sizes[0]]
