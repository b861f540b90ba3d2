"""Fronts and hypervolumes by hand, and beside Optuna's own."""

import numpy as np
import optuna
import pytest
from optuna._hypervolume import compute_hypervolume
from optuna.trial import create_trial

from study.ranking.pareto import front, hypervolume, representatives


def test_front_by_hand() -> None:
    points = np.array([[1, 5], [2, 3], [2, 4], [3, 3], [4, 1], [1, 5], [5, 1]], float)
    assert front(points).tolist() == [True, True, False, False, True, True, False]


def test_the_front_of_one_objective_is_its_best() -> None:
    assert front(np.array([[3.0], [1.0], [2.0], [1.0]])).tolist() == [False, True, False, True]


def test_no_points_no_front() -> None:
    assert front(np.empty((0, 2))).tolist() == [] and representatives(np.empty((0, 2)), 3) == []


@pytest.mark.parametrize("objectives", [2, 3, 4])
@pytest.mark.parametrize("seed", range(4))
def test_front_as_optuna_finds_it(objectives: int, seed: int) -> None:
    """Small whole numbers: many equal values, and equal points."""
    points = np.random.default_rng(seed).integers(0, 6, (60, objectives)).astype(float)
    study = optuna.create_study(directions=["minimize"] * objectives)
    study.add_trials([create_trial(values=list(point)) for point in points])
    assert np.flatnonzero(front(points)).tolist() == [trial.number for trial in study.best_trials]


def test_hypervolume_by_hand() -> None:
    """Two boxes of 3 x 1 and 1 x 3 that share 1 x 1."""
    assert hypervolume(np.array([[0.0, 2.0], [2.0, 0.0]]), np.array([3.0, 3.0])) == 5.0


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
def test_hypervolume_as_optuna_has_it(objectives: int) -> None:
    points = np.random.default_rng(objectives).random((12, objectives))
    expected = compute_hypervolume(points, np.ones(objectives))
    assert hypervolume(points, np.ones(objectives)) == pytest.approx(expected, rel=1e-12)


def test_the_best_of_the_first_objective_then_the_knee() -> None:
    """(0, 10) is best; up to (10, 10), (2, 2) then adds 8 x 8; of (1, 7) and (7, 1) either adds 3; (10, 0) nothing."""
    points = np.array([[10, 0], [7, 1], [2, 2], [1, 7], [0, 10]], float)
    assert representatives(points, 1) == [4]
    assert representatives(points, 2) == [4, 2]
    assert representatives(points, 4) == [4, 2, 3, 1], "of two that add the same, the better by the first objective"
    assert representatives(points, 9) == [4, 2, 3, 1, 0]


def test_units_do_not_matter() -> None:
    points = np.random.default_rng(3).random((30, 2))
    points = points[front(points)]
    scaled = points * [1e-3, 1e6]
    assert representatives(points, 4) == representatives(scaled, 4)
