"""What each choice of the search does to the score, all others held at their average: a linear model of the trials.

A choice that only some trials have (a loss's parameter, the encoder's learning rate) is looked at in those. The search
itself decides which trials there are: what it soon turned away from has few, and so a wide interval.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from analysis import compare
from analysis.importance import Dimension, dimensions
from analysis.linear import Scale, bases_of, columns_of, grid_of, having_of, p_of, scale_of, scores_of
from analysis.ratios import Array
from analysis.uncertainty import ALPHA, holm

if TYPE_CHECKING:
    from analysis.together import Interaction

NORMAL = 1.959964
"""Quantile of the normal distribution at 97.5 %."""


@dataclass(frozen=True)
class Point:
    """A value of a choice, and the score it gives on average."""

    value: object
    score: float
    low: float
    high: float
    """Of the 95 % interval."""
    trials: int
    """That have the value; of a number, all."""


@dataclass(frozen=True)
class Effect:
    """Of one choice."""

    choice: str
    scale: Scale
    points: tuple[Point, ...]
    """By value: names in order, numbers rising."""
    trials: int
    p: float
    """As rare as an effect this large would be by chance."""
    p_adjusted: float = 1.0
    """By Holm's method, for as many choices as were looked at."""

    @property
    def matters(self) -> bool:
        return self.p_adjusted < ALPHA

    def best(self, ascending: bool) -> Point:
        """The value with the best score."""
        return (min if ascending else max)(self.points, key=lambda point: point.score)


def comparable(trials: pd.DataFrame, epochs: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The searched trials that ended with a score, that in the objective's column as of the last epoch that all of
    them have, and that epoch: one stopped early has had fewer, and is not worse for that."""
    metric, ascending = compare.objective(trials).metric, compare.objective(trials).ascending
    ended = trials["state"].isin(compare.ENDED_WITH_SCORE) & trials[metric].notna()
    searched = trials[(trials["source"] == compare.SEARCH) & ended]
    if searched.empty:
        return searched, 0
    common = int(searched["epochs"].min())
    until = epochs[(epochs["epoch"] <= common) & epochs["trial"].isin(searched["trial"])]
    best = until.groupby("trial")[metric].agg("min" if ascending else "max")
    scored = searched.assign(**{metric: searched["trial"].map(best).astype(float)})
    scored.attrs = trials.attrs
    return scored[scored[metric].notna()], common


def effects(trials: pd.DataFrame) -> list[Effect]:
    """Of every choice that `trials` made differently, the surest first. `trials` as `comparable` gives them; empty
    where there are too few for as many choices."""
    found = [one for name in dimensions(trials) if (one := _effect(trials, name))]
    adjusted = holm([one.p for one in found])
    named = [replace(one, p_adjusted=p) for one, p in zip(found, adjusted, strict=True)]
    return sorted(named, key=lambda one: (one.p, one.choice))


def sentences(found: Sequence[Effect], ascending: bool, together: Sequence["Interaction"] = ()) -> list[str]:
    """What matters, surest first: the best value of each choice, and what it gains over the one that is furthest from
    it. That nothing does, where nothing does. `ascending`: less of the score is better."""
    said = []
    for one in found:
        if one.matters:
            best, worst = one.best(ascending), one.best(not ascending)
            gain = f"{compare.text(best.score)} against {compare.text(worst.score)}"
            where = "about " if one.scale != "names" else ""
            with_, without = (compare.text(point.value) for point in (best, worst))
            said.append(f"{one.choice} {where}{with_} is best: {gain} with {where}{without} (p {one.p_adjusted:.3f}).")
    nothing = "No choice is told apart from chance: more trials, or a choice that matters more, would be needed."
    depends = [both for both in together if both.p_adjusted < ALPHA]
    said += [f"What {b.choices[0]} does depends on {b.choices[1]} (p {b.p_adjusted:.3f})." for b in depends]
    return said or [nothing]


def student(free: int) -> float:
    """Quantile of Student's t at 97.5 %, to a thousandth from six degrees of freedom on.

    Abramowitz & Stegun 1964, "Handbook of Mathematical Functions", 26.7.5."""
    z = NORMAL
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / free + second / free**2 + third / free**3


def _effect(trials: pd.DataFrame, name: str) -> Effect | None:
    having = having_of(trials, name)
    known = dimensions(having)
    if name not in known:  # all that have it made it alike
        return None
    bases = bases_of(having, known, without=_parts_of(having, known, name))
    if name not in bases:
        return None
    own, others = bases.pop(name), [np.ones((len(having), 1)), *bases.values()]
    reduced = np.column_stack(others)
    p = p_of(scores_of(having), reduced, own)
    if p is None:
        return None
    points = tuple(_points(having, name, known[name], own, reduced))
    return Effect(name, scale_of(known[name]), points, len(having), p)


def _parts_of(trials: pd.DataFrame, known: Mapping[str, Dimension], name: str) -> tuple[str, ...]:
    """Choices that only some values of `name` have: what it does includes what they do."""
    if not known[name].choices:
        return ()
    of = trials.groupby(name, observed=True)
    return tuple(
        other
        for other in known
        if other != name and trials[other].isna().any() and of[other].apply(lambda v: v.isna().nunique() == 1).all()
    )


def _points(trials: pd.DataFrame, name: str, dimension: Dimension, own: Array, others: Array) -> list[Point]:
    """The model's score at each value, all else at its average, with an interval that does not take the trials to vary
    alike (HC3: MacKinnon & White 1985, Journal of Econometrics 29)."""
    columns = np.column_stack([others, own])
    inverse = np.linalg.pinv(columns.T @ columns)
    scores = scores_of(trials)
    weights = inverse @ columns.T @ scores
    leverage = np.einsum("ij,jk,ik->i", columns, inverse, columns).clip(max=1 - 1e-6)
    spread = columns * ((scores - columns @ weights) / (1 - leverage))[:, None]
    covariance = inverse @ (spread.T @ spread) @ inverse
    values, rows = grid_of(trials[name], dimension)
    mean = columns_of(trials[name], dimension).mean(axis=0)
    quantile = student(len(scores) - round(float(leverage.sum())))
    points = []
    for value, row in zip(values, rows - mean, strict=True):
        at = np.concatenate([[1.0], np.zeros(others.shape[1] - 1), row])
        score, reach = float(at @ weights), quantile * math.sqrt(max(float(at @ covariance @ at), 0.0))
        count = int((trials[name] == value).sum()) if dimension.choices else len(trials)
        points.append(Point(value, score, score - reach, score + reach, count))
    return points
