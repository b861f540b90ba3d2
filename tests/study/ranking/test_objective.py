"""The best epoch: more or less is better, the first of equals, and what is no number is no score."""

import math
from typing import Any

import pytest

from study.ranking.objective import Objective, objectives, values
from study.store.records import Record

MOST, LEAST = Objective("val_iou", "max"), Objective("val_iou", "min")


def rows(*values: float | None) -> list[dict[str, float | int | None]]:
    return [{"epoch": number, "val_iou": value} for number, value in enumerate(values, 1)]


@pytest.mark.parametrize(
    ("objective", "values", "best_epoch"),
    [
        (MOST, (0.1, 0.3, 0.2), 2),
        (LEAST, (0.3, 0.1, 0.2), 2),
        (MOST, (0.3, 0.3, 0.1), 1),
        (LEAST, (0.2, 0.1, 0.1), 2),
        (MOST, (math.nan, 0.1), 2),
        (MOST, (0.2, math.nan, 0.1), 1),
        (LEAST, (None, 0.2, 0.1), 3),
        (MOST, (math.inf, 0.1), 2),
        (MOST, (0.0,), 1),
    ],
)
def test_best_row(objective: Objective, values: tuple[float, ...], best_epoch: int) -> None:
    best = objective.kept_row(rows(*values))
    assert best is not None and best["epoch"] == best_epoch


@pytest.mark.parametrize("keep", ["last", "average"])
@pytest.mark.parametrize("objective", [MOST, LEAST])
@pytest.mark.parametrize(
    ("values", "epoch"), [((0.1, 0.3, 0.2), 3), ((0.3, 0.3), 2), ((0.2, math.nan), 1), ((0.2, 0.1, None, math.inf), 2)]
)
def test_the_last_row_with_a_score(
    objective: Objective, keep: str, values: tuple[float | None, ...], epoch: int
) -> None:
    """Of the last weights, or of their average until then, whatever the earlier epochs scored."""
    kept = objective.kept_row(rows(*values), keep)
    assert kept is not None and kept["epoch"] == epoch


@pytest.mark.parametrize("keep", ["best", "last", "average"])
@pytest.mark.parametrize("values", [(), (math.nan,), (None, math.inf)])
def test_no_row_where_nothing_is_scored(values: tuple[float | None, ...], keep: str) -> None:
    assert MOST.kept_row(rows(*values), keep) is None


def test_a_row_without_the_metric_has_no_score() -> None:
    assert MOST.kept_row([{"epoch": 1, "val_loss": 0.1}]) is None


def test_better_is_strict() -> None:
    assert MOST.better(2, 1) and LEAST.better(1, 2)
    assert not any(objective.better(1, 1) for objective in (MOST, LEAST))


def test_values_of_a_trial(make_record: Any) -> None:
    record: Record = make_record(0, values=[0.5, 0.7, 0.6])
    record.params_trainable, record.params_frozen, record.gpus, record.latency_ms = 10, 5, 2.0, 4.5
    metrics = ("val_iou", "params_total", "params_trainable", "train_seconds", "gpu_seconds", "latency_ms")
    assert values(record, [Objective(metric, "max") for metric in metrics]) == [0.7, 15, 10, 6.0, 12.0, 4.5]
    record.latency_ms = None
    assert values(record, [MOST, Objective("latency_ms", "min")]) is None


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_what_is_no_number_is_no_value(make_record: Any, value: float | None) -> None:
    assert MOST.value(make_record(0, values=[value])) is None


def test_one_objective_or_a_list_of_them() -> None:
    raw = {"metric": "val_iou", "mode": "max"}
    assert objectives(raw) == (MOST,) == objectives([raw])
    assert objectives([raw, {"metric": "val_loss", "mode": "min"}]) == (MOST, Objective("val_loss", "min"))
