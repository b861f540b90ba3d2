"""What each choice of the search does to the score, all others held at their average: a linear model of the trials.

Choices with names have a level each; numbers a line and a parabola, on the logarithm where they were searched so. A
choice that only some trials have (a loss's parameter, the encoder's learning rate) is looked at in those. The search
itself decides which trials there are: what it soon turned away from has few, and so a wide interval.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Literal

import numpy as np
import pandas as pd

from analysis import compare
from analysis.importance import Dimension, dimensions
from analysis.ratios import Array
from analysis.uncertainty import ALPHA, holm

Scale = Literal["names", "linear", "log"]

NORMAL = 1.959964
"""Quantile of the normal distribution at 97.5 %."""
INTERACTING = 4
"""The surest choices, of which every two are looked at together."""
PERMUTATIONS = 2000
CHUNK_NUMBERS = 5_000_000
FEWEST_FREE = 6
"""Trials beyond the numbers that are estimated of them, or nothing is."""
GRID = 15
"""Values of a number at which its effect is given."""


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
    names = [one.choice for one in found[:INTERACTING]]
    pairs = [both for one, other in combinations(names, 2) if (both := interaction(trials, one, other))]
    adjusted = holm([both.p for both in pairs])
    return sorted((replace(both, p_adjusted=p) for both, p in zip(pairs, adjusted, strict=True)), key=lambda b: b.p)


def interaction(trials: pd.DataFrame, one: str, other: str) -> Interaction | None:
    """Of two choices, over the trials that have both; None where those are too few."""
    having = _having(_having(trials, one), other)
    bases = _bases(having, without=())
    if one not in bases or other not in bases:
        return None
    products = _products(bases[one], bases[other])
    reduced = np.column_stack([np.ones(len(having)), *bases.values()])
    p = _p_of(_scores(having), reduced, products)
    return None if p is None else Interaction((one, other), len(having), p)


def _effect(trials: pd.DataFrame, name: str) -> Effect | None:
    having = _having(trials, name)
    bases = _bases(having, without=_parts_of(having, name))
    if name not in bases:
        return None
    own, others = bases.pop(name), [np.ones((len(having), 1)), *bases.values()]
    reduced = np.column_stack(others)
    p = _p_of(_scores(having), reduced, own)
    if p is None:
        return None
    dimension = dimensions(having)[name]
    scale: Scale = "names" if dimension.choices else "log" if dimension.log else "linear"
    return Effect(name, scale, tuple(_points(having, name, own, reduced)), len(having), p)


def _having(trials: pd.DataFrame, name: str) -> pd.DataFrame:
    kept = trials[trials[name].notna()]
    kept.attrs = trials.attrs
    return kept


def _parts_of(trials: pd.DataFrame, name: str) -> tuple[str, ...]:
    """Choices that only some values of `name` have: what it does includes what they do."""
    if not dimensions(trials)[name].choices:
        return ()
    of = trials.groupby(name, observed=True)
    return tuple(
        other
        for other in compare.varied(trials)
        if other != name and trials[other].isna().any() and of[other].apply(lambda v: v.isna().nunique() == 1).all()
    )


def _scores(trials: pd.DataFrame) -> Array:
    return trials[compare.objective(trials).metric].to_numpy(float)


def _bases(trials: pd.DataFrame, without: Sequence[str]) -> dict[str, Array]:
    """Columns of the linear model by choice, each with mean 0 over the trials."""
    found = {}
    for name, dimension in dimensions(trials).items():
        columns = _columns(trials[name], dimension)
        if name not in without and columns.shape[1]:
            found[name] = columns - columns.mean(axis=0)
    return found


def _columns(values: pd.Series, dimension: Dimension) -> Array:
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


def _products(one: Array, other: Array) -> Array:
    products = (one[:, :, None] * other[:, None, :]).reshape(len(one), -1)
    return products - products.mean(axis=0)


def _p_of(scores: Array, reduced: Array, own: Array) -> float | None:
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


def _points(trials: pd.DataFrame, name: str, own: Array, others: Array) -> list[Point]:
    """The model's score at each value, all else at its average, with an interval that does not take the trials to vary
    alike (HC3: MacKinnon & White 1985, Journal of Econometrics 29)."""
    columns = np.column_stack([others, own])
    inverse = np.linalg.pinv(columns.T @ columns)
    scores = _scores(trials)
    weights = inverse @ columns.T @ scores
    leverage = np.einsum("ij,jk,ik->i", columns, inverse, columns).clip(max=1 - 1e-6)
    spread = columns * ((scores - columns @ weights) / (1 - leverage))[:, None]
    covariance = inverse @ (spread.T @ spread) @ inverse
    dimension = dimensions(trials)[name]
    values, rows = _at(trials[name], dimension)
    mean = _columns(trials[name], dimension).mean(axis=0)
    quantile = student(len(scores) - round(float(leverage.sum())))
    points = []
    for value, row in zip(values, rows - mean, strict=True):
        at = np.concatenate([[1.0], np.zeros(others.shape[1] - 1), row])
        score, reach = float(at @ weights), quantile * math.sqrt(max(float(at @ covariance @ at), 0.0))
        count = int((trials[name] == value).sum()) if dimension.choices else len(trials)
        points.append(Point(value, score, score - reach, score + reach, count))
    return points


def _at(values: pd.Series, dimension: Dimension) -> tuple[list[object], Array]:
    """Values at which the effect is given, and their columns, not yet centred."""
    if dimension.choices:
        tried = [choice for choice in dimension.choices if (values == choice).any()]
        return list(tried), np.eye(len(tried))[:, 1:]
    low, high = float(values.min()), float(values.max())
    grid = np.geomspace(low, high, GRID) if dimension.log else np.linspace(low, high, GRID)
    places = _places(grid, dimension)
    width = _columns(values, dimension).shape[1]
    return list(grid), np.stack([places, places**2], axis=1)[:, :width]
