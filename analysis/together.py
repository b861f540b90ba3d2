"""What two choices do together: whether one depends on the other, and the score over the values of both."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd

from analysis.effects import Effect
from analysis.importance import dimensions
from analysis.linear import FEWEST_FREE, Scale, bases_of, columns_of, grid_of, having_of, p_of, scale_of, scores_of
from analysis.ratios import Array
from analysis.uncertainty import holm

INTERACTING = 4
"""The surest choices, of which every two are looked at together."""


def pairs(found: Sequence[Effect]) -> list[tuple[str, str]]:
    """Every two of the surest choices. `found`: analysis.effects.effects, the surest first."""
    return list(combinations([one.choice for one in found[:INTERACTING]], 2))


@dataclass(frozen=True)
class Interaction:
    """Whether what one choice does depends on another."""

    choices: tuple[str, str]
    trials: int
    p: float
    p_adjusted: float = 1.0
    """By Holm's method, for as many pairs as were looked at."""


def interactions(trials: pd.DataFrame, found: Sequence[Effect]) -> list[Interaction]:
    """Of every two of the surest choices, the surest first. `found`: effects(trials)."""
    known = [both for one, other in pairs(found) if (both := interaction(trials, one, other))]
    adjusted = holm([both.p for both in known])
    return sorted((replace(both, p_adjusted=p) for both, p in zip(known, adjusted, strict=True)), key=lambda b: b.p)


def interaction(trials: pd.DataFrame, one: str, other: str) -> Interaction | None:
    """Of two choices, over the trials that have both; None where those are too few."""
    having = having_of(having_of(trials, one), other)
    bases = bases_of(having, dimensions(having))
    if one not in bases or other not in bases:
        return None
    products = _products(bases[one], bases[other])
    reduced = np.column_stack([np.ones(len(having)), *bases.values()])
    p = p_of(scores_of(having), reduced, products)
    return None if p is None else Interaction((one, other), len(having), p)


def _products(one: Array, other: Array) -> Array:
    products = (one[:, :, None] * other[:, None, :]).reshape(len(one), -1)
    return products - products.mean(axis=0)


@dataclass(frozen=True)
class Surface:
    """The score over the values of two choices, all others at their average."""

    choices: tuple[str, str]
    scales: tuple[Scale, Scale]
    values: tuple[tuple[object, ...], tuple[object, ...]]
    """Of each choice: names in order, numbers rising."""
    scores: Array
    """(values of the second, values of the first)."""
    trials: pd.DataFrame
    """That have both."""


def surfaces(trials: pd.DataFrame, couples: Sequence[tuple[str, str]]) -> list[Surface]:
    """Of those couples that have one."""
    return [found for couple in couples if (found := surface(trials, *couple))]


def surface(trials: pd.DataFrame, one: str, other: str) -> Surface | None:
    """Of any two choices, what they do together included; None where too few trials have both, or all of these made
    one of them alike. `trials` as `comparable` gives them."""
    having = having_of(having_of(trials, one), other)
    known = dimensions(having)
    bases = bases_of(having, known)
    if one not in bases or other not in bases:
        return None
    others = [columns for name, columns in bases.items() if name not in (one, other)]
    two = _terms(columns_of(having[one], known[one]), columns_of(having[other], known[other]))
    columns = np.column_stack([np.ones(len(having)), *others, two])
    if len(having) - np.linalg.matrix_rank(columns) < FEWEST_FREE:
        return None
    weights = np.linalg.pinv(columns) @ scores_of(having)
    (first, at_first), (second, at_second) = (grid_of(having[name], known[name]) for name in (one, other))
    constant, of_two = weights[0], weights[-two.shape[1] :]  # the others are at their average, which is 0
    rows = [_terms(at_first, np.repeat(row[None], len(at_first), axis=0)) @ of_two for row in at_second]
    scales = (scale_of(known[one]), scale_of(known[other]))
    return Surface((one, other), scales, (tuple(first), tuple(second)), constant + np.stack(rows), having)


def _terms(one: Array, other: Array) -> Array:
    """Columns of two choices and of their products."""
    return np.column_stack([one, other, (one[:, :, None] * other[:, None, :]).reshape(len(one), -1)])
