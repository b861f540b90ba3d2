"""What a study searches for, and for how much: several objectives; each of two models; within a budget."""

import io
import re
import signal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from own_specs import SEARCHED
from test_study_e2e import wait_for

from study.ranking.leaders import on_front
from study.ranking.objective import Objective
from study.store import Store
from study.store.records import State, read_records, read_used

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SMALL = (SEARCHED, "--image-size", 64, "--epochs", 1, "--set", "early_stopping.min_epochs=1", "--no-report")


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


def test_two_models_compared_and_resumed(shell: Any) -> None:
    """Trial by trial in turn, two of each; interrupted in between; each one's best is scored on the test split."""
    arguments = (*SMALL, "--set", "compare=model", "--set", "finalists=1", "--seed", 2, "--name", "compared")
    refused = shell.study(*arguments, "--trials", 3, status=2)
    assert "3 searched trials are to be shared by 2 values of model: give 2 or 4" in refused
    process = shell.start_study(*arguments, "--trials", 4)
    store = Store(str(shell.storage / "compared"))
    wait_for(lambda: "trials" in store.names("") and any(r.state.ended for r in read_records(store)), process)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 130, out

    out = shell.study("phantom", "--no-report", "--name", "compared", "--resume")
    records = read_records(store)
    assert [record.experiment["model"] for record in records] == ["mobilenetv2_plain", "mobilenetv2_skip"] * 2
    assert sorted(r.experiment["model"] for r in records if r.test) == ["mobilenetv2_plain", "mobilenetv2_skip"]
    assert "the best of each model; expected: of 2 trials; luck:" in out
    rows = pd.read_csv(io.StringIO(shell.run("analysis.table", store.uri, "--compare")))
    assert rows["trials"].tolist() == [2, 2] and rows["luck"].iloc[1] <= 1
    best = {model: max(r.best["val_iou"] for r in records if r.experiment["model"] == model) for model in rows["model"]}
    assert rows["val_iou"].tolist() == pytest.approx(list(best.values()))


def test_a_study_ends_with_its_budget_and_goes_on_with_a_larger_one(shell: Any) -> None:
    """A dollar a minute, the start of the lanes among it, and what is kept for scoring."""
    price = ("--set", "resources.price_per_hour={default: 60}", "--set", "finalists=1")
    plan = shell.study(*SMALL, *price, "--trials", 400, "--budget", "1.4usd", "--dry-run")
    assert " at most of a budget of 1.4usd, timed on this machine" in plan
    out = shell.study(*SMALL, *price, "--trials", 400, "--budget", "1.4usd", "--name", "bounded")
    store = Store(str(shell.storage / "bounded"))
    records = read_records(store)
    assert 1 <= len(records) < 400 and {record.state for record in records} == {State.COMPLETE}
    assert re.search(r"budget nearly used \(\S+ of 1\.4 usd\): no new trials will start", out), out
    assert sum(record.test is not None for record in records) == 1, "finalists are scored all the same"
    spent = read_used(store).usd({"default": 60.0})

    resume = ("phantom", "--no-report", "--name", "bounded", "--resume")
    shell.study(*resume)
    assert read_records(store) == records, "nothing is left for another trial"
    shell.study(*resume, "--budget", "60usd", "--trials", len(records) + 1)
    more = read_records(store)
    assert len(more) == len(records) + 1 and more[-1].state is State.COMPLETE
    assert read_used(store).usd({"default": 60.0}) > spent + 0.1


def test_a_trial_that_runs_beyond_the_budget_ends_with_its_epoch(shell: Any) -> None:
    out = shell.study(*SMALL, "--epochs", 2000, "--trials", 3, "--budget", "1.5min", "--name", "cut")
    records = read_records(Store(str(shell.storage / "cut")))
    assert records and {record.state for record in records} == {State.PRUNED}
    for record in records:
        assert 1 <= len(record.epochs) < 2000
        expected = rf"stopped at epoch {len(record.epochs)}: \d min \d\d s of 1 min 30 s spent"
        assert re.fullmatch(expected, record.reason), record.reason
    assert f"{len(records)}/3 trials" in out
