"""What a study searches for: several objectives."""

import io
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from study.leaders import on_front
from study.objective import Objective
from study.records import State, read_records
from study.store import Store

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SMALL = ("phantom", "--image-size", 64, "--epochs", 1, "--set", "early_stopping.min_epochs=1", "--no-report")


def table(shell: Any, study: Path) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(shell.run("analysis.table", study)))


def test_quality_against_parameters_and_latency(shell: Any) -> None:
    """The two models differ in both costs."""
    costs = "{metric: params_total, mode: min}, {metric: latency_ms, mode: min}"
    goal = ("--set", f"objective=[{{metric: val_iou}}, {costs}]")
    out = shell.study(*SMALL, *goal, "--trials", 4, "--set", "finalists=1", "--seed", 1, "--name", "several")
    assert "4/4 trials" in out and "pareto: no other finished trial is as good in all of max val_iou, " in out
    study = shell.storage / "several"
    records = read_records(Store(str(study)))
    assert {record.state for record in records} == {State.COMPLETE}
    assert all(0 < (record.latency_ms or 0) < 1000 for record in records)
    aims = [Objective("val_iou", "max"), Objective("params_total", "min"), Objective("latency_ms", "min")]
    front = on_front(records, aims)
    assert [record.trial for record in records if record.test] == [front[0].trial]
    assert {r.trial for r in records if "best" in r.files} == {r.trial for r in front}
    rows = table(shell, study)
    assert rows.loc[rows["pareto"], "trial"].tolist() == sorted(record.trial for record in front)
