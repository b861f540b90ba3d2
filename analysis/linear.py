"""A linear model of the trials' scores: its columns, and whether some of them matter.

A name is a column for each but the first; a number a line and a parabola, on the logarithm where it was searched so.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd

from analysis import compare
from analysis.importance import Dimension
from analysis.ratios import Array

Scale = Literal["names", "linear", "log"]

PERMUTATIONS = 2000
CHUNK_NUMBERS = 5_000_000
FEWEST_FREE = 6
"""Trials beyond the numbers that are estimated of them, or nothing is."""
GRID = 15
"""Values of a number at which its effect is given."""


def scale_of(dimension: Dimension) -> Scale:
    return "names" if dimension.choices else "log" if dimension.log else "linear"


def having_of(trials: pd.DataFrame, name: str) -> pd.DataFrame:
    """The trials that have the choice."""
    kept = trials[trials[name].notna()]
    kept.attrs = trials.attrs
    return kept


def scores_of(trials: pd.DataFrame) -> Array:
    return trials[compare.objective(trials).metric].to_numpy(float)


def bases_of(trials: pd.DataFrame, known: Mapping[str, Dimension], without: Sequence[str] = ()) -> dict[str, Array]:
    """Columns of the linear model by choice, each with mean 0 over the trials. `known`: their dimensions."""
    found = {}
    for name, dimension in known.items():
        columns = columns_of(trials[name], dimension)
        if name not in without and columns.shape[1]:
            found[name] = columns - columns.mean(axis=0)
    return found


def columns_of(values: pd.Series, dimension: Dimension) -> Array:
    """Of names, one for each but the first; of numbers, from -1 to 1, and its square where more than two were tried.
    Zero where a trial has no such choice."""
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


def grid_of(values: pd.Series, dimension: Dimension) -> tuple[list[object], Array]:
    """Values at which the effect is given, and their columns, not yet centred."""
    if dimension.choices:
        tried = [choice for choice in dimension.choices if (values == choice).any()]
        return list(tried), np.eye(len(tried))[:, 1:]
    low, high = float(values.min()), float(values.max())
    grid = np.geomspace(low, high, GRID) if dimension.log else np.linspace(low, high, GRID)
    places = _places(grid, dimension)
    width = columns_of(values, dimension).shape[1]
    return list(grid), np.stack([places, places**2], axis=1)[:, :width]


def p_of(scores: Array, reduced: Array, own: Array) -> float | None:
    """Of the columns `own` beside `reduced`: the residuals of the model without them are shuffled, and the model with
    them fitted again. None where too few trials are left over.

    Freedman & Lane 1983, "A Nonstochastic Interpretation of Reported Significance Levels", Journal of Business &
    Economic Statistics 1(4); as in Winkler et al. 2014, NeuroImage 92, which finds it the best of its kind."""
    base, full = _orthonormal(reduced), _orthonormal(np.column_stack([reduced, own]))
    added = full.shape[1] - base.shape[1]
    if added == 0 or len(scores) - full.shape[1] < FEWEST_FREE:
        return None
    left = scores - base @ (base.T @ scores)
    observed, rng, reached = _explained(left[:, None], base, full)[0], np.random.default_rng(2), 1
    for count in _chunks(len(scores)):
        shuffled = rng.permuted(np.broadcast_to(left, (count, len(left))), axis=1).T
        reached += int((_explained(shuffled, base, full) >= observed - 1e-12).sum())
    return reached / (PERMUTATIONS + 1)


def _explained(left: Array, base: Array, full: Array) -> Array:
    """What the added columns explain of each column of `left`, over what they leave: F, but for its degrees of
    freedom, which are the same for all."""
    total = (left**2).sum(axis=0)
    by_base, by_full = ((columns.T @ left) ** 2 for columns in (base, full))
    unexplained = total - by_full.sum(axis=0)
    return (by_full.sum(axis=0) - by_base.sum(axis=0)) / np.maximum(unexplained, 1e-15 * np.maximum(total, 1e-300))


def _chunks(trials: int) -> list[int]:
    size = max(1, CHUNK_NUMBERS // trials)
    return [min(size, PERMUTATIONS - start) for start in range(0, PERMUTATIONS, size)]


def _orthonormal(columns: Array) -> Array:
    """A basis of the space that the columns span."""
    left, sizes, _ = np.linalg.svd(columns, full_matrices=False)
    return left[:, sizes > 1e-9 * sizes[0]]
