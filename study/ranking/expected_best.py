"""A comparison of one choice's values by the best trial of each.

It says what the same number of trials of each value can be expected to find, and how easily the order could be luck.

It assumes that a value's trials are draws from one distribution, as in a random search. A sampler that learns draws
more trials near good ones. The intervals are then too narrow, and luck looks rarer than it is.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
"""(N,) scores of a value's trials; more is better."""
Value = str | bool | int | float
"""A value of the choice."""
Ended = tuple[int, float | None]
"""A trial's number and its score, which is None if it has none."""
TAIL = 0.025
"""The probability beyond each end of a 95 % interval."""


@dataclass(frozen=True)
class Standing:
    """The result of one value in the comparison."""

    value: Value
    trials: int
    """The number of trials that have ended, including those without a score."""
    failed: int
    """The number of trials without a score. Each counts as the worst score of any trial of any value."""
    best: float
    trial: int
    """The number of the trial with the best score."""
    draws: int
    """The fewest trials that any of the values has. The fields below compare this many trials of each value."""
    expected: float
    """The expected best score of `draws` trials."""
    low: float
    high: float
    """The bounds `low` and `high`, between which 95 % of the best scores of `draws` trials lie."""
    luck: float
    """The p-value of the leader's lead (see luck()) times the number of rivals (Bonferroni); NaN for the leader."""


def standings(groups: Mapping[Value, Sequence[Ended]], mode: str) -> list[Standing]:
    """Return the standings of the values, best first, without values of which no trial has a score.

    `mode` says whether more of the score is better (`max`) or less (`min`).
    """
    up = upwards(mode)
    scores = scores_by_value(groups, mode)
    order = sorted(scores, key=lambda value: -scores[value].max())
    draws = min(map(len, scores.values()), default=0)
    return [_standing(value, groups[value], scores, order[0], draws, up) for value in order]


def upwards(mode: str) -> int:
    """Return the factor to multiply scores by so that more is better."""
    return 1 if mode == "max" else -1


def scores_by_value(groups: Mapping[Value, Sequence[Ended]], mode: str) -> dict[Value, Scores]:
    """Return the scores of each value that has any, turned so that more is better; see Standing.failed."""
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
    """Return the expected best score of `draws` trials, each drawn from these scores with replacement.

    It is the sum over the scores v of v (P(V <= v)^draws - P(V < v)^draws), with P as among these scores.

    Dodge et al. 2019, "Show Your Work: Improved Reporting of Experimental Results", EMNLP, arXiv:1909.03004, section 3,
    expected validation performance. It is too low on average if `draws` is close to the number of scores. Still, of all
    estimators it misleads least often (Dodge et al. 2021, arXiv:2110.00613).
    """
    return float(np.sort(scores) @ np.diff(_chances(len(scores), draws), prepend=0.0))


def interval(scores: Scores, draws: int) -> tuple[float, float]:
    """Return the bounds between which 95 % of the best scores of `draws` trials lie, drawn as in `expected`.

    A percentile bootstrap (Efron & Tibshirani 1993, section 13.3) gives the same bounds after infinitely many draws.
    """
    low, high = np.searchsorted(_chances(len(scores), draws), [TAIL, 1 - TAIL])
    ordered = np.sort(scores)
    return float(ordered[low]), float(ordered[high])


def _chances(count: int, draws: int) -> Scores:
    """Return (count,) probabilities that the best of `draws` draws is among the lowest 1, 2, ... scores."""
    return (np.arange(1, count + 1) / count) ** draws


def luck(leader: Scores, rival: Scores) -> float:
    """Return the p-value of the lead under the null hypothesis that both values have the same score distribution.

    Let m be the number of the leader's trials that are better than the rival's best. If every order of all trials is
    equally likely, this is the probability that the m best all belong to one value.

    Rosenbaum 1954, "Tables for a Nonparametric Test of Location", Annals of Mathematical Statistics 25, two-sided.
    """
    ahead = int((leader > rival.max()).sum())
    every = math.comb(len(leader) + len(rival), ahead)
    return min(1.0, sum(math.comb(len(scores), ahead) for scores in (leader, rival)) / every)
