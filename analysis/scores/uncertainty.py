"""How certain a score is, and a difference between two models, over a sample of images.

The images are regarded as a sample of many more. A model is the counts of one training, or of several with different
seeds: it has their mean on each image. If a score is a function of added counts, the counts of all trainings are added.

Every model here is scored on the same images, so comparisons are paired. Random numbers are seeded: the same counts
give the same result at every call.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from string import ascii_letters
from typing import TypeVar

import numpy as np

from analysis.scores.ratios import Additive, Array, Pooled, Sums

LEVEL = 0.95
ALPHA = 1 - LEVEL
DRAWS = 2000
PERMUTATIONS = 10_000
"""The permutations of a test; a fifth of them, and of DRAWS, is enough if there are very many images."""
MANY = 30_000_000
"""The random numbers for a test above which fewer draws are made."""
M = TypeVar("M", bound=Hashable)
"""The type of a model's name."""
Model = Sums | Sequence[Sums]
CHUNK_NUMBERS = 5_000_000
"""The weights of images held in memory at a time: 40 MB, however many images there are."""


def interval(model: Model, score: Additive, draws: int | None = None) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of a score, with images drawn with replacement.

    Efron & Tibshirani 1993, "An Introduction to the Bootstrap", section 13.3.
    """
    return intervals(model, [score], draws)[0]


def intervals(model: Model, scores: Sequence[Additive], draws: int | None = None) -> list[tuple[float, float]]:
    """Return the `interval` of each score; all use the same resampled images, which are drawn once."""
    # All pooled scores have the same parts, and differ only in their ratio.
    kinds = [Pooled if isinstance(score, Pooled) else score for score in scores]
    parts = {kind: _parts(model, score) for kind, score in zip(kinds, scores, strict=True)}
    added = _added(np.concatenate([*parts.values()], axis=1), draws or _affordable(DRAWS, model))
    ends = np.cumsum([part.shape[1] for part in parts.values()])[:-1]
    totals = dict(zip(parts, np.split(added, ends, axis=1), strict=True))
    return [_bounds(score.whole(totals[kind])) for kind, score in zip(kinds, scores, strict=True)]


@dataclass(frozen=True)
class Difference:
    """The difference of a score between two models: how much more the first has."""

    value: float
    low: float
    high: float
    """The upper end of the 95 % interval; both models are on the same resampled images."""
    p: float
    """The two-sided p-value: how often chance alone would make a difference this large.

    Chance means that the two models are interchangeable on every image.
    """


def difference(
    first: Model, second: Model, score: Additive, draws: int | None = None, swaps: int | None = None
) -> Difference:
    """Return the difference of a score between two models, with its interval and p-value.

    `first` and `second` are of the same images, in the same order. Raises ValueError if their shapes differ.
    """
    (shape, *_), (other_shape, *_) = ([one.hard.shape for one in _trainings(model)] for model in (first, second))
    if shape != other_shape:
        raise ValueError(f"counts of {shape} and {other_shape}: must be of the same images")
    draws, swaps = draws or _affordable(DRAWS, first), swaps or _affordable(PERMUTATIONS, first)
    one, other = _parts(first, score), _parts(second, score)
    low, high = _bounds(score.whole(_added(one, draws)) - score.whole(_added(other, draws)))
    return Difference(value(first, score) - value(second, score), low, high, _p_of_swaps(one, other, score, swaps))


def value(model: Model, score: Additive) -> float:
    return float(score.whole(_parts(model, score).sum(0)))


def _trainings(model: Model) -> Sequence[Sums]:
    return [model] if isinstance(model, Sums) else model


def _parts(model: Model, score: Additive) -> Array:
    """Return the parts of each image, averaged over the trainings: (images, K)."""
    return np.mean([score.parts(sums) for sums in _trainings(model)], axis=0)


def _p_of_swaps(one_NK: Array, other_NK: Array, score: Additive, swaps: int) -> float:
    """Return the p-value of a paired permutation test.

    On each image the counts of the two models are swapped or not, at random. The observed order counts as one of the
    permutations.

    Ernst 2004, "Permutation Methods: A Basis for Exact Inference", Statistical Science 19(4), section 2.3.
    """
    rng, reached = np.random.default_rng(1), 1
    one_K, other_K, change_NK = one_NK.sum(0), other_NK.sum(0), other_NK - one_NK
    observed = abs(score.whole(one_K) - score.whole(other_K))
    for count in _chunks(len(one_NK), swaps):
        change_SK = rng.integers(0, 2, (count, len(one_NK))).astype(float) @ change_NK
        found_S = np.abs(score.whole(one_K + change_SK) - score.whole(other_K - change_SK))
        reached += int((found_S >= observed - 1e-12).sum())
    return reached / (swaps + 1)


def _added(parts_NK: Array, draws: int) -> Array:
    """Return the added parts of as many images drawn with replacement: (draws, K).

    The same images are drawn for every model.
    """
    rng, images = np.random.default_rng(0), len(parts_NK)
    even = np.full(images, 1 / images)
    return np.concatenate([rng.multinomial(images, even, n) @ parts_NK for n in _chunks(images, draws)])


def _affordable(total: int, model: Model) -> int:
    return max(total // 5, min(total, MANY // max(len(_trainings(model)[0].hard), 1)))


def _chunks(images: int, total: int) -> Iterator[int]:
    size = max(1, CHUNK_NUMBERS // max(images, 1))
    for start in range(0, total, size):
        yield min(size, total - start)


def _bounds(samples: Array) -> tuple[float, float]:
    low, high = np.nanquantile(samples, [ALPHA / 2, 1 - ALPHA / 2])
    return float(low), float(high)


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values enlarged so that among all of them a false finding is as rare as in one test.

    Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 6.
    """
    order = np.argsort(p)
    grown = np.asarray(p, float)[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(grown), 1.0)
    return [float(value) for value in adjusted]


def letters(models: Sequence[M], differ: Mapping[tuple[M, M], bool]) -> dict[M, str]:
    """Return the letters of each model; two models that share a letter do not differ significantly.

    `models`: best first. `differ` has each pair in one order or the other.

    Piepho 2004, "An Algorithm for a Letter-Based Representation of All-Pairwise Comparisons", Journal of Computational
    and Graphical Statistics 13(2).
    """
    groups = [set(models)]
    for one, other in combinations(models, 2):
        if differ[(one, other) if (one, other) in differ else (other, one)]:
            split = [group - {left} for group in groups if {one, other} <= group for left in (one, other)]
            groups = _largest([group for group in groups if not {one, other} <= group] + split)
    place = {model: number for number, model in enumerate(models)}
    groups.sort(key=lambda group: sorted(place[model] for model in group))
    return {model: "".join(_letter(i) for i, group in enumerate(groups) if model in group) for model in models}


def _largest(groups: list[set[M]]) -> list[set[M]]:
    """Return the groups without duplicates and without those that another group contains."""
    kept: list[set[M]] = []
    for group in sorted(groups, key=len, reverse=True):
        if not any(group <= other for other in kept):
            kept.append(group)
    return kept


def _letter(number: int) -> str:
    """Return one character for any number: a to z, A to Z, then Unicode from α on."""
    return ascii_letters[number] if number < len(ascii_letters) else chr(0x3B1 + number - len(ascii_letters))
