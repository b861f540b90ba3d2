"""A study of several objectives, in its table, its figures and its report."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from analysis import figures, load, ranking, table
from analysis.finalists import sealed
from analysis.report import page, tables
from study import ls
from study.store import Store

FRONT = [0, 5, 9]
LATENCIES_MS = {0: 1.0, 1: 2.0, 2: 3.0, 3: 0.5, 4: 4.0, 5: 1.5, 8: 8.0, 9: 8.0, 11: 0.1}
"""Scores rise with the trial's number. 3 was stopped early and 11 still runs; 8 is worse than 9 and as fast."""
OBJECTIVES = [{"metric": "val_iou", "mode": "max"}, {"metric": "latency_ms", "mode": "min"}]


@pytest.fixture
def two(study: Path, change: Callable[..., None]) -> Path:
    store = Store(str(study))
    info = store.read_json("study.json")
    store.write_json("study.json", info | {"spec": info["spec"] | {"objective": OBJECTIVES}})
    for trial, latency_ms in LATENCIES_MS.items():
        change(trial, latency_ms=latency_ms)
    return study


def test_the_table_says_who_is_of_the_front(two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert table.main([str(two)]) == 0
    rows = pd.read_csv(io.StringIO(capsys.readouterr().out)).set_index("trial")
    assert rows.index[rows["pareto"]].tolist() == FRONT
    assert rows["latency_ms"].dropna().to_dict() == LATENCIES_MS and rows["params_total"].tolist() == [15] * 12
    assert table.main([str(two), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[5]["pareto"] is True


def test_with_one_objective_there_is_no_front(study: Path) -> None:
    assert "pareto" not in load.trials(str(study))


def test_ls_shows_the_front_first(two: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ls.main([str(two), "--top", "5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:5] == ["trial", "state", "val_iou", "latency_ms", "pareto"]
    assert [line.split()[0] for line in lines[2:7]] == ["9", "5", "0", "11", "8"]
    assert lines[2].split()[3:5] == ["8", "yes"] and "yes" not in lines[5]
    sentence = "no other finished trial is as good in all of max val_iou, min latency_ms, and better in one"
    assert f"pareto: {sentence}: trials 9, 5, 0" in lines


def test_of_equals_by_the_first_objective_the_one_that_is_better_by_the_second_leads(
    two: Path, change: Callable[..., None]
) -> None:
    opened = load.open_study(str(two))
    change(4, epochs=opened.records[9].epochs)
    leader = ranking.best(load.trials(str(two)))
    assert leader is not None and leader["trial"] == 4
    assert load.trials(str(two)).set_index("trial")["pareto"][[4, 9]].tolist() == [True, False]


def test_the_figure_joins_the_front(two: Path) -> None:
    grey, blue = figures.pareto(load.trials(str(two))).data
    assert sorted(map(int, blue.ids)) == FRONT
    assert list(blue.x) == [1.0, 1.5, 8.0] and set(grey.ids) == {"1", "2", "4", "8"}


def test_a_second_score_that_is_to_be_large_has_its_panel(two: Path) -> None:
    trials = load.trials(str(two))
    objectives = [OBJECTIVES[0], {"metric": "val_sensitivity", "mode": "max"}]
    trials.attrs["study"]["spec"]["objective"] = objectives
    trials["val_sensitivity"] = [0.9, 0.9, 0.8, 0.9, 0.8, 0.9, 0.8, 0.8, 0.7, 0.6, 0.8, 0.9]
    found = ranking.costs(trials).set_index("trial")
    assert found.index[found["val_sensitivity_efficient"]].tolist() == [5, 8, 9]
    assert ranking.on_front(trials)[lambda on: on].index.tolist() == [5, 8, 9]
    assert figures.pareto(trials).layout.xaxis2.title.text == "val sensitivity"


def test_the_report_says_it(two: Path) -> None:
    board = tables.leaderboard(ranking.results(load.trials(str(two))))
    assert [heading.text for heading in board.headings[:3]] == ["val IoU", "latency", "Pareto set"]
    assert [row.cells[1:3] for row in board.rows if row.trial in (5, 8)] == [["8.0 ms", "no"], ["1.5 ms", "yes"]]
    html = page.build([load.open_study(str(two))])
    assert "The Pareto set of max val IoU, min latency_ms: trials 9, 5, 0." in html


def test_finalists_compare_by_the_first_objective(two: Path) -> None:
    opened = load.open_study(str(two))
    assert sealed.default_score(opened, []) == "iou"
