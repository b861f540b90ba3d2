"""The effect of each choice of the search on the score, with all other choices at their average.

It comes from a linear model of the trials. A choice that only some trials have (a loss's parameter, the encoder's
learning rate) is examined in those trials. The search itself decides which trials there are: a value that it soon
abandons has few trials, and so a wide interval.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from analysis import ranking
from analysis.hyperparameters.importance import Dimension, dimensions
from analysis.hyperparameters.linear import (
    MIN_FREE,
    Scale,
    axis_scale,
    design_columns,
    linear_bases,
    permutation_p_value,
    score_vector,
    trials_with,
    value_grid,
)
from analysis.scores.ratios import Array
from analysis.scores.uncertainty import ALPHA, holm


@dataclass(frozen=True)
class Point:
    """A value of a choice, and the score that it gives on average."""

    value: object
    score: float
    low: float
    high: float
    """The upper end of the 95 % interval; `low` is the lower end."""
    trials: int
    """The number of trials that have the value; for a numeric choice, all trials."""


@dataclass(frozen=True)
class Effect:
    """The effect of one choice."""

    choice: str
    scale: Scale
    points: tuple[Point, ...]
    """The points by value: names in order, numbers ascending."""
    trials: int
    p: float
    """The p-value: how often chance alone would make an effect this large."""
    p_adjusted: float = 1.0
    """The p-value by Holm's method, for as many choices as were examined."""

    @property
    def matters(self) -> bool:
        return self.p_adjusted < ALPHA

    def best(self, ascending: bool) -> Point:
        """Return the point with the best score."""
        return (min if ascending else max)(self.points, key=lambda point: point.score)


def comparable(trials: pd.DataFrame, epochs: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Return the searched trials that ended with a score, as of one common epoch, and that epoch.

    The common epoch is the last that all of these trials have. The objective's column has their best score up to it. An
    early-stopped trial has had fewer epochs, and is not worse for that.
    """
    metric, ascending = ranking.objective(trials).metric, ranking.objective(trials).ascending
    ended = trials["state"].isin(ranking.ENDED_WITH_SCORE) & trials[metric].notna()
    searched = trials[(trials["source"] == ranking.SEARCH) & ended]
    if searched.empty:
        return searched, 0
    common = int(searched["epochs"].min())
    until = epochs[(epochs["epoch"] <= common) & epochs["trial"].isin(searched["trial"])]
    best = until.groupby("trial")[metric].agg("min" if ascending else "max")
    scored = searched.assign(**{metric: searched["trial"].map(best).astype(float)})
    scored.attrs = trials.attrs
    return scored[scored[metric].notna()], common


def effects(trials: pd.DataFrame) -> list[Effect]:
    """Return the effect of every choice that varies among `trials`, smallest p-value first.

    `trials` as `comparable` returns them. The list is empty if there are too few trials for the number of choices.
    """
    found = [one for name in dimensions(trials) if (one := _effect(trials, name))]
    adjusted = holm([one.p for one in found])
    named = [replace(one, p_adjusted=p) for one, p in zip(found, adjusted, strict=True)]
    return sorted(named, key=lambda one: (one.p, one.choice))


def sentences(found: Sequence[Effect], ascending: bool, together: Sequence["Interaction"] = ()) -> list[str]:
    """Return one sentence for each choice that matters, smallest p-value first.

    It names the best value, and its score against that of the worst value. One sentence follows for each pair in
    `together` that matters. If nothing matters, a single sentence says so. `ascending`: a lower score is better.
    """
    said = []
    for one in found:
        if one.matters:
            best, worst = one.best(ascending), one.best(not ascending)
            gain = f"{ranking.text(best.score)} against {ranking.text(worst.score)}"
            where = "about " if one.scale != "names" else ""
            with_, without = (ranking.text(point.value) for point in (best, worst))
            said.append(f"{one.choice} {where}{with_} is best: {gain} with {where}{without} (p {one.p_adjusted:.3f}).")
    nothing = "No choice has a significant effect: more trials, or a choice that matters more, would be needed."
    depends = [both for both in together if both.p_adjusted < ALPHA]
    said += [f"What {b.choices[0]} does depends on {b.choices[1]} (p {b.p_adjusted:.3f})." for b in depends]
    return said or [nothing]


def _effect(trials: pd.DataFrame, name: str) -> Effect | None:
    having = trials_with(trials, name)
    known = dimensions(having)
    if name not in known:  # all trials that have it made the same choice
        return None
    bases = linear_bases(having, known, without=_parts_of(having, known, name))
    if name not in bases:
        return None
    own, others = bases.pop(name), [np.ones((len(having), 1)), *bases.values()]
    reduced = np.column_stack(others)
    p = permutation_p_value(score_vector(having), reduced, own)
    if p is None:
        return None
    points = tuple(_points(having, name, known[name], own, reduced))
    return Effect(name, axis_scale(known[name]), points, len(having), p)


def _parts_of(trials: pd.DataFrame, known: Mapping[str, Dimension], name: str) -> tuple[str, ...]:
    """Return the choices that only some values of `name` have; the effect of `name` includes theirs."""
    if not known[name].choices:
        return ()
    of = trials.groupby(name, observed=True)
    return tuple(
        other
        for other in known
        if other != name and trials[other].isna().any() and of[other].apply(lambda v: v.isna().nunique() == 1).all()
    )


def _points(trials: pd.DataFrame, name: str, dimension: Dimension, own: Array, others: Array) -> list[Point]:
    """Return the model's score at each value, with all other choices at their average.

    The intervals do not assume that all trials have the same variance (HC3: MacKinnon & White 1985, Journal of
    Econometrics 29).
    """
    columns = np.column_stack([others, own])
    inverse = np.linalg.pinv(columns.T @ columns)
    scores = score_vector(trials)
    weights = inverse @ columns.T @ scores
    leverage = np.einsum("ij,jk,ik->i", columns, inverse, columns).clip(max=1 - 1e-6)
    spread = columns * ((scores - columns @ weights) / (1 - leverage))[:, None]
    covariance = inverse @ (spread.T @ spread) @ inverse
    values, rows = value_grid(trials[name], dimension)
    mean = design_columns(trials[name], dimension).mean(axis=0)
    quantile = float(stdtrit(len(scores) - round(float(leverage.sum())), 1 - ALPHA / 2))  # of Student's t
    points = []
    for value, row in zip(values, rows - mean, strict=True):
        at = np.concatenate([[1.0], np.zeros(others.shape[1] - 1), row])
        score, reach = float(at @ weights), quantile * math.sqrt(max(float(at @ covariance @ at), 0.0))
        count = int((trials[name] == value).sum()) if dimension.choices else len(trials)
        points.append(Point(value, score, score - reach, score + reach, count))
    return points


INTERACTING = 4
"""The number of choices, smallest p-values first, of which every pair is examined."""


def pairs(found: Sequence[Effect]) -> list[tuple[str, str]]:
    """Return every pair of the INTERACTING first choices of `found`, the result of `effects`."""
    return list(combinations([one.choice for one in found[:INTERACTING]], 2))


@dataclass(frozen=True)
class Interaction:
    """The interaction of two choices: whether the effect of one depends on the other."""

    choices: tuple[str, str]
    trials: int
    p: float
    p_adjusted: float = 1.0
    """The p-value by Holm's method, for as many pairs as were examined."""


def interactions(trials: pd.DataFrame, found: Sequence[Effect]) -> list[Interaction]:
    """Return the interaction of every pair from `pairs(found)`, smallest p-value first.

    `found`: effects(trials). Pairs that occur together in too few trials are left out.
    """
    known = [both for one, other in pairs(found) if (both := interaction(trials, one, other))]
    adjusted = holm([both.p for both in known])
    return sorted((replace(both, p_adjusted=p) for both, p in zip(known, adjusted, strict=True)), key=lambda b: b.p)


def interaction(trials: pd.DataFrame, one: str, other: str) -> Interaction | None:
    """Return the interaction of two choices over the trials that have both; None if these are too few."""
    having = trials_with(trials_with(trials, one), other)
    bases = linear_bases(having, dimensions(having))
    if one not in bases or other not in bases:
        return None
    products = _products(bases[one], bases[other])
    reduced = np.column_stack([np.ones(len(having)), *bases.values()])
    p = permutation_p_value(score_vector(having), reduced, products)
    return None if p is None else Interaction((one, other), len(having), p)


def _products(one: Array, other: Array) -> Array:
    products = (one[:, :, None] * other[:, None, :]).reshape(len(one), -1)
    return products - products.mean(axis=0)


@dataclass(frozen=True)
class Surface:
    """The score over the values of two choices, with all others at their average."""

    choices: tuple[str, str]
    scales: tuple[Scale, Scale]
    values: tuple[tuple[object, ...], tuple[object, ...]]
    """The values of each choice: names in order, numbers ascending."""
    scores: Array
    """The scores: (values of the second choice, values of the first)."""
    trials: pd.DataFrame
    """The trials that have both choices."""


def surfaces(trials: pd.DataFrame, couples: Sequence[tuple[str, str]]) -> list[Surface]:
    """Return the surface of each pair that has one."""
    return [found for couple in couples if (found := surface(trials, *couple))]


def surface(trials: pd.DataFrame, one: str, other: str) -> Surface | None:
    """Return the score over any two choices, including their interaction.

    None if too few trials have both, or all of these made the same choice for one of them. `trials` as `comparable`
    returns them.
    """
    having = trials_with(trials_with(trials, one), other)
    known = dimensions(having)
    bases = linear_bases(having, known)
    if one not in bases or other not in bases:
        return None
    others = [columns for name, columns in bases.items() if name not in (one, other)]
    two = _terms(design_columns(having[one], known[one]), design_columns(having[other], known[other]))
    columns = np.column_stack([np.ones(len(having)), *others, two])
    if len(having) - np.linalg.matrix_rank(columns) < MIN_FREE:
        return None
    weights = np.linalg.pinv(columns) @ score_vector(having)
    (first, at_first), (second, at_second) = (value_grid(having[name], known[name]) for name in (one, other))
    constant, of_two = weights[0], weights[-two.shape[1] :]  # all others are at their average, which is 0
    rows = [_terms(at_first, np.repeat(row[None], len(at_first), axis=0)) @ of_two for row in at_second]
    scales = (axis_scale(known[one]), axis_scale(known[other]))
    return Surface((one, other), scales, (tuple(first), tuple(second)), constant + np.stack(rows), having)


def _terms(one: Array, other: Array) -> Array:
    """Return the columns of two choices and of their products."""
    return np.column_stack([one, other, (one[:, :, None] * other[:, None, :]).reshape(len(one), -1)])
