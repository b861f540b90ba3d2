"""Values of one choice held against each other by the best trial of each: what as many trials may be expected to find,
and how easily the order could be luck.

All of it takes a value's trials for draws from one distribution, which those of a random search are. A sampler that
learns draws more where it found something: intervals then are too narrow, and luck looks rarer than it is.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
"""(N,) of a value's trials; more is better."""
Value = str | bool | int | float
"""Of the choice."""
Ended = tuple[int, float | None]
"""A trial's number, and its score."""
TAIL = 0.025
"""Beyond each end of a 95 % interval."""


@dataclass(frozen=True)
class Standing:
    """Of one value."""

    value: Value
    trials: int
    """That have ended, those without a score among them."""
    failed: int
    """Without a score. They count as the worst score of any trial of any value."""
    best: float
    trial: int
    """That has it."""
    draws: int
    """The fewest trials that any of the values has: so many of each are compared in what follows."""
    expected: float
    """Of the best of so many."""
    low: float
    high: float
    """In between lie 95 % of the bests of so many."""
    luck: float
    """See luck(): of the leader's lead, times the number of its rivals (Bonferroni); not a number for the leader."""


def standings(groups: Mapping[Value, Sequence[Ended]], mode: str) -> list[Standing]:
    """Best first; values of which no trial has a score are left out. `mode`: whether more of the score is better
    (`max`) or less (`min`)."""
    up = upwards(mode)
    scores = scores_by_value(groups, mode)
    order = sorted(scores, key=lambda value: -scores[value].max())
    draws = min(map(len, scores.values()), default=0)
    return [_standing(value, groups[value], scores, order[0], draws, up) for value in order]


def upwards(mode: str) -> int:
    """What to multiply scores with for more to be better."""
    return 1 if mode == "max" else -1


def scores_by_value(groups: Mapping[Value, Sequence[Ended]], mode: str) -> dict[Value, Scores]:
    """Of the values that have any; see standings."""
    up = upwards(mode)
    known = [up * score for group in groups.values() for _, score in group if score is not None]
    return {
        value: np.array([min(known) if score is None else up * score for _, score in group])
        for value, group in groups.items()
        if any(score is not None for _, score in group)
    }


def _standing(
    value: Value, group: Sequence[Ended], scores: Mapping[Value, Scores], leader: Value, draws: int, up: int
) -> Standing:
    own, rivals = scores[value], len(scores) - 1
    low, high = sorted(up * bound for bound in interval(own, draws))
    return Standing(
        value=value,
        trials=len(group),
        failed=sum(score is None for _, score in group),
        best=up * float(own.max()),
        trial=group[int(own.argmax())][0],
        draws=draws,
        expected=up * expected(own, draws),
        low=low,
        high=high,
        luck=math.nan if value == leader else min(1.0, rivals * luck(scores[leader], own)),
    )


def expected(scores: Scores, draws: int) -> float:
    """Of the best of so many trials, each drawn from these, with replacement: the sum over the scores v of
    v (P(V <= v)^draws - P(V < v)^draws), P as among these.

    Dodge et al. 2019, "Show Your Work: Improved Reporting of Experimental Results", EMNLP, arXiv:1909.03004, section 3,
    expected validation performance. Too low on average where `draws` comes near the number of scores, and yet of all
    estimators the one that misleads least often (Dodge et al. 2021, arXiv:2110.00613)."""
    return float(np.sort(scores) @ np.diff(_chances(len(scores), draws), prepend=0.0))


def interval(scores: Scores, draws: int) -> tuple[float, float]:
    """Between which 95 % of the bests of so many trials lie, drawn as in `expected`: what a percentile bootstrap (Efron
    & Tibshirani 1993, section 13.3) would come to after infinitely many draws."""
    low, high = np.searchsorted(_chances(len(scores), draws), [TAIL, 1 - TAIL])
    ordered = np.sort(scores)
    return float(ordered[low]), float(ordered[high])


def _chances(count: int, draws: int) -> Scores:
    """(count,) that the best of so many draws is among the first 1, 2, ... of the scores in their order."""
    return (np.arange(1, count + 1) / count) ** draws


def luck(leader: Scores, rival: Scores) -> float:
    """How probable a lead this long would be, were the two alike, and every order of all their trials as likely as any
    other: that the m best trials all belong to one of the two, m being how many of the leader's are better than the
    best of its rival's.

    Rosenbaum 1954, "Tables for a Nonparametric Test of Location", Annals of Mathematical Statistics 25, two-sided."""
    ahead = int((leader > rival.max()).sum())
    every = math.comb(len(leader) + len(rival), ahead)
    return min(1.0, sum(math.comb(len(scores), ahead) for scores in (leader, rival)) / every)
