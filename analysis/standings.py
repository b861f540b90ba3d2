"""Finalists against each other, image by image and seed by seed: who is better, by how much, how sure that is."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import stdev

import pandas as pd

from analysis.definitions import definitions
from analysis.ratios import Sums
from analysis.score import Additive, Mean
from analysis.sealed import SCORE, Finalist, place, score_of
from analysis.uncertainty import ALPHA, difference, holm, interval, intervals, letters, value

NOT_KNOWN = float("nan")


@dataclass(frozen=True)
class Pair:
    """Two finalists, the better one first."""

    study: str
    trial: int | str
    other_study: str
    other_trial: int | str
    difference: float
    low: float
    high: float
    """Of the 95 % interval."""
    p: float
    """Of a paired permutation test."""
    p_adjusted: float
    """By Holm's method, for as many pairs as there are."""

    @property
    def told_apart(self) -> bool:
        return self.p_adjusted < ALPHA


@dataclass(frozen=True)
class Standing:
    """A finalist among the others."""

    study: str
    trial: int | str
    source: str
    score: float
    """On the test split; the mean over its seeds."""
    low: float
    high: float
    """Of the 95 % interval."""
    ties: str
    """It has a letter in common with those that it is not told apart from."""
    drop: float
    """How much less it is than on the validation images, both at training size: the search chose by those."""
    drop_low: float
    drop_high: float
    seeds: int = 1
    """That it was trained with."""
    deviation: float = NOT_KNOWN
    """Of the score between the seeds (sample standard deviation); missing where there is one seed."""


def pairs(found: Sequence[Finalist], name: str = SCORE) -> list[Pair]:
    """Every two of them, by the score `name`, over all their seeds. NotComparable where there is none of that name."""
    size, score, ranked = place(found), score_of(found, name), _ranked(found, name)
    couples = list(combinations(ranked, 2))
    apart = [difference(_seeds(one, size), _seeds(other, size), score) for one, other in couples]
    return [
        Pair(one.study, one.trial, other.study, other.trial, by.value, by.low, by.high, by.p, adjusted)
        for (one, other), by, adjusted in zip(couples, apart, holm([by.p for by in apart]), strict=True)
    ]


def standings(found: Sequence[Finalist], name: str, tested: Sequence[Pair]) -> list[Standing]:
    """Best first; `tested` are pairs(found, name)."""
    size, score, ranked = place(found), score_of(found, name), _ranked(found, name)
    differ = {((by.study, by.trial), (by.other_study, by.other_trial)): by.told_apart for by in tested}
    ties = letters([(one.study, one.trial) for one in ranked], differ)
    return [
        Standing(
            one.study,
            one.trial,
            one.source,
            value(_seeds(one, size), score),
            *interval(_seeds(one, size), score),
            ties[one.study, one.trial],
            *_drop(one, score),
            seeds=len(one.trainings),
            deviation=_deviation(one, score, size),
        )
        for one in ranked
    ]


def _deviation(one: Finalist, score: Additive, size: str) -> float:
    scores = [score.of(each.test[size]) for each in one.trainings]
    return stdev(scores) if len(scores) > 1 else NOT_KNOWN


def _ranked(found: Sequence[Finalist], name: str) -> list[Finalist]:
    size, score = place(found), score_of(found, name)
    return sorted(found, key=lambda one: (-value(_seeds(one, size), score), one.study, str(one.trial)))


def _seeds(one: Finalist, size: str) -> list[Sums]:
    return [each.test[size] for each in one.trainings]


def seed_scores(found: Sequence[Finalist], name: str = SCORE) -> pd.DataFrame:
    """A row a finalist and seed, best finalist first, no ensembles: `finalist` (as people read it), `trial`, `seed`,
    `score` on the test images, and `low` and `high`, its 95 % interval over them."""
    size, score = place(found), score_of(found, name)
    ranked = [one for one in _ranked(found, name) if isinstance(one.trial, int)]
    rows = [
        (called, each.trial, each.seed, score.of(each.test[size]), *interval(each.test[size], score))
        for one, called in zip(ranked, _called(ranked), strict=True)
        for each in one.trainings
    ]
    return pd.DataFrame(rows, columns=["finalist", "trial", "seed", "score", "low", "high"])


def _called(found: Sequence[Finalist]) -> list[str]:
    several = len({one.study for one in found}) > 1
    called = [f"trial {one.trial}" if isinstance(one.trial, int) else str(one.trial) for one in found]
    return [f"{one.study}, {name}" if several else name for one, name in zip(found, called, strict=True)]


def _drop(one: Finalist, score: Additive) -> tuple[float, float, float]:
    """Validation less test and its interval: two samples of images, so their variances add."""
    both = [(each.val, each.test["train"]) for each in one.trainings if each.val and "train" in each.test]
    if not both:
        return NOT_KNOWN, NOT_KNOWN, NOT_KNOWN
    on_val, on_test = zip(*both, strict=True)
    val, test = value(on_val, score), value(on_test, score)
    (val_low, val_high), (test_low, test_high) = interval(on_val, score), interval(on_test, score)
    below = ((val - val_low) ** 2 + (test_high - test) ** 2) ** 0.5
    above = ((val_high - val) ** 2 + (test - test_low) ** 2) ** 0.5
    return val - test, val - test - below, val - test + above


def every_score(found: Sequence[Finalist]) -> pd.DataFrame:
    """A row a finalist and score that has an interval, best finalist first: `study`, `trial`, `score`, `value` on the
    test images, over all its seeds, `low` and `high`."""
    size, rows = place(found), []
    for one in found:
        known = {d.name: d.score for d in definitions(one.test[size]) if isinstance(d.score, Additive)}
        spans = intervals(_seeds(one, size), list(known.values()))
        for (name, score), span in zip(known.items(), spans, strict=True):
            rows.append((one.study, one.trial, name, value(_seeds(one, size), score), *span))
    return pd.DataFrame(rows, columns=["study", "trial", "score", "value", "low", "high"])


def image_scores(found: Sequence[Finalist], name: str = SCORE) -> pd.DataFrame:
    """A row an image and finalist, by its first seed, best finalist first: `finalist` (as people read it), `trial`,
    `id`, `iou` (of a task with more classes the mean over those in the image's truth or prediction)."""
    size, parts, ranked = place(found), [], _ranked(found, name)
    for one, called in zip(ranked, _called(ranked), strict=True):
        scores = {d.name: d.score for d in definitions(one.test[size])}
        by_image = scores.get("iou_image", scores["iou"])
        assert isinstance(by_image, Mean)
        values = by_image.ratio(one.test[size])
        parts.append(pd.DataFrame({"finalist": called, "trial": one.trial, "id": one.ids, "iou": values}))
    return pd.concat(parts, ignore_index=True)
