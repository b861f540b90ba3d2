"""The best of a number of trials: by hand, by enumeration, and by drawing."""

import itertools
import math

import numpy as np
import pytest

from study.ranking.expected_best import expected, interval, luck, standings

SCORES = np.array([0.3, 0.9, 0.5, 0.6])


def test_the_expected_best_by_hand() -> None:
    """Of two draws out of four, the best is the i-th in (2i - 1) of 16 cases."""
    assert expected(SCORES, 1) == pytest.approx(SCORES.mean())
    assert expected(SCORES, 2) == pytest.approx((0.3 * 1 + 0.5 * 3 + 0.6 * 5 + 0.9 * 7) / 16)


@pytest.mark.parametrize("draws", [1, 2, 3, 4])
def test_the_expected_best_by_enumeration(draws: int) -> None:
    """Equal scores among them."""
    scores = np.array([0.3, 0.9, 0.3, 0.6, 0.6])
    bests = [max(drawn) for drawn in itertools.product(scores, repeat=draws)]
    assert expected(scores, draws) == pytest.approx(np.mean(bests), rel=1e-12)


def test_the_interval_is_what_drawing_comes_to() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(0.8, 0.05, 40)
    bests = rng.choice(scores, (200_000, 12)).max(1)
    assert interval(scores, 12) == tuple(np.quantile(bests, [0.025, 0.975], method="inverted_cdf"))
    assert expected(scores, 12) == pytest.approx(bests.mean(), abs=2e-4)


def test_one_trial_is_its_own_best() -> None:
    assert expected(np.array([0.7]), 5) == 0.7 and interval(np.array([0.7]), 5) == (0.7, 0.7)


def test_luck_by_hand() -> None:
    """Three of each; the best two are the leader's: 2 x (3 / 6 x 2 / 5)."""
    assert luck(np.array([9.0, 8.0, 1.0]), np.array([7.0, 6.0, 5.0])) == pytest.approx(2 * 3 / 6 * 2 / 5)
    assert luck(np.array([9.0, 8.0, 7.0]), np.array([3.0, 2.0, 1.0])) == pytest.approx(0.1)
    assert luck(np.array([9.0]), np.array([9.0, 1.0])) == 1.0, "no lead at all"


def test_luck_by_enumeration() -> None:
    """Over all ways to share the trials out: how often is the lead, whoever has it, as long."""
    leader, rival = np.array([9.0, 8.0, 6.0, 2.0]), np.array([7.0, 5.0, 4.0, 3.0, 1.0])
    every = {*leader, *rival}

    def lead(one: set[float]) -> int:
        other = every - one
        first, second = (one, other) if max(one) > max(other) else (other, one)
        return sum(score > max(second) for score in first)

    leads = [lead(set(drawn)) for drawn in itertools.combinations(every, len(leader))]
    observed = lead(set(leader))
    assert observed == 2
    assert luck(leader, rival) == pytest.approx(np.mean(np.array(leads) >= observed))


def test_luck_is_as_rare_as_it_says() -> None:
    """Two alike: a luck of at most 5 % comes about in at most 5 % of the cases; two that differ are found out."""
    rng = np.random.default_rng(1)
    alike = [lucky(rng, 0.0) for _ in range(2000)]
    assert np.mean(np.array(alike) <= 0.05) <= 0.06
    assert np.mean([lucky(rng, 2.0) <= 0.05 for _ in range(200)]) > 0.9


def lucky(rng: np.random.Generator, better: float) -> float:
    one, other = rng.normal(better, 1, 20), rng.normal(0, 1, 20)
    return luck(*sorted((one, other), key=lambda scores: -scores.max()))


def test_standings() -> None:
    """`b` leads; `a` has a trial more and a failed one, which counts as 0.2; `c` has no score, and no place."""
    groups = {"a": [(0, 0.6), (2, None), (4, 0.5)], "b": [(1, 0.7), (3, 0.65)], "c": [(5, None)], "d": [(6, 0.2)] * 2}
    b, a, d = standings(groups, "max")
    assert [one.value for one in (b, a, d)] == ["b", "a", "d"]
    assert (b.trials, b.failed, b.best, b.trial, b.draws) == (2, 0, 0.7, 1, 2)
    assert (a.trials, a.failed, a.best, a.trial) == (3, 1, 0.6, 0)
    assert b.expected == pytest.approx((0.65 * 1 + 0.7 * 3) / 4)
    assert a.expected == pytest.approx((0.2 * 1 + 0.5 * 3 + 0.6 * 5) / 9)
    assert (a.low, a.high) == (0.2, 0.6) and (d.low, d.high) == (0.2, 0.2)
    assert math.isnan(b.luck)
    # Of b and a, the best two of five are b's: (1 + 3) / 10; twice, because b has two rivals.
    assert a.luck == pytest.approx(2 * 4 / 10) and d.luck == pytest.approx(2 * 2 / 6)


def test_less_is_better() -> None:
    first, second = standings({"a": [(0, 0.3), (1, 0.2)], "b": [(2, 0.1), (3, None)]}, "min")
    assert (first.value, first.best, first.trial) == ("b", 0.1, 2) and (first.low, first.high) == (0.1, 0.3)
    assert first.expected == pytest.approx((0.3 * 1 + 0.1 * 3) / 4) and (second.low, second.high) == (0.2, 0.3)


def test_nothing_ended_no_standings() -> None:
    assert standings({}, "min") == [] == standings({"a": [(0, None)]}, "min")
