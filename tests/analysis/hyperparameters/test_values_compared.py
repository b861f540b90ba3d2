"""A study that compares values of a choice: its table, its figure, its report, its leaderboard."""

import io
import json
from pathlib import Path

import pandas as pd
import pytest

from analysis import figures, load, table
from analysis.hyperparameters import comparison
from analysis.report import page
from study import ls
from study.ranking.expected_best import expected, interval
from study.store import Store

# By experiment(): odd trials are of mobilenetv2_skip, even ones of mobilenetv2_plain. Of the searched ones have ended
# 2, 4, 6 (stopped early), 8 and 10 (did not fit); 3 (stopped early), 5, 7 (failed) and 9. 11 still runs.
SKIP, PLAIN = [0.65, 0.53, 0.43], [0.62, 0.50, 0.50, 0.44]
"""Their scores; see conftest.score."""


@pytest.fixture
def compared(study: Path) -> Path:
    store = Store(str(study))
    info = store.read_json("study.json")
    store.write_json("study.json", info | {"spec": info["spec"] | {"compare": "model"}})
    return study


def test_the_table_has_a_row_a_value(compared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert table.main([str(compared), "--compare"]) == 0
    rows = pd.read_csv(io.StringIO(capsys.readouterr().out))
    columns = ["model", "trials", "failed", "val_iou", "trial", "draws", "expected", "low", "high", "luck"]
    assert rows.columns.tolist() == columns
    skip, plain = rows.to_dict("records")
    scores = sorted([*SKIP, 0.43])  # the failed one counts as the worst of all
    assert (skip["model"], skip["trials"], skip["failed"], skip["trial"]) == ("mobilenetv2_skip", 4, 1, 9)
    assert skip["val_iou"] == pytest.approx(0.65) and skip["draws"] == 4
    assert skip["expected"] == pytest.approx(expected(pd.Series(scores).to_numpy(), 4))
    assert (plain["model"], plain["trials"], plain["failed"], plain["trial"]) == ("mobilenetv2_plain", 5, 1, 8)
    # One trial is ahead, of nine: (4 + 5) / 9.
    assert plain["luck"] == 1 and pd.isna(skip["luck"])


def test_a_study_that_compares_nothing_is_one_line_and_exit_2(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert table.main([str(study), "--compare"]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("error: --compare: this study compares nothing")
    assert comparison.standings(load.trials(str(study))) == [] and comparison.curves(load.trials(str(study))).empty


def test_the_leaderboard_and_the_table_say_the_same(compared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ls.main([str(compared)]) == 0
    lines = capsys.readouterr().out.splitlines()
    place = lines.index(
        "the best of each model; expected: of 4 trials; luck: the chance of such a lead, were both alike"
    )
    assert lines[place + 1].split() == ["model", "trials", "val_iou", "trial", "expected", "95", "%", "luck"]
    for line, row in zip(
        lines[place + 2 :], comparison.table(load.trials(str(compared))).to_dict("records"), strict=False
    ):
        spread = f"{row['low']:.4f}-{row['high']:.4f}"
        shown = [row["model"], str(row["trials"]), "(1", "failed)", f"{row['val_iou']:.4f}", str(row["trial"])]
        assert line.split()[:8] == [*shown, f"{row['expected']:.4f}", spread]
    assert table.main([str(compared), "--compare", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["luck"] is None


def test_the_figure_ends_at_the_best_and_begins_at_the_mean(compared: Path) -> None:
    trials = load.trials(str(compared))
    figure = figures.best_of(trials)
    low, high, line = figure.data[:3]
    scores = pd.Series([*SKIP, 0.43]).to_numpy()
    assert line.name == "mobilenetv2_skip" and list(line.x) == [1, 2, 3, 4]
    assert line.y[0] == pytest.approx(scores.mean()) and line.y[-1] == pytest.approx(expected(scores, 4))
    assert (low.y[1], high.y[1]) == pytest.approx(interval(scores, 2))
    assert figure.data[5].name == "mobilenetv2_plain" and len(figure.data[5].x) == 5
    notes = [(note.text, note.font.color) for note in figure.layout.annotations]
    assert notes == [
        ("<b>mobilenetv2_skip</b>", line.line.color),
        ("<b>mobilenetv2_plain</b>", figure.data[5].line.color),
    ]


def test_less_is_better_turns_everything_round(compared: Path) -> None:
    trials = load.trials(str(compared))
    trials.attrs["study"]["spec"]["objective"] = {"metric": "val_loss", "mode": "min"}
    first = comparison.curves(trials).groupby("value").first()
    last = comparison.curves(trials).groupby("value").last()
    assert (last["expected"] < first["expected"]).all() and (last["low"] <= last["high"]).all()


def test_long_curves_have_few_points(compared: Path) -> None:
    drawn = comparison._draws(5000)
    assert drawn[:50] == list(range(1, 51)) and drawn[-1] == 5000 and len(drawn) < 260


def test_the_report_says_how_sure_the_order_is(compared: Path, study: Path) -> None:
    html = page.build([load.open_study(str(compared))])
    assert "The best of each model" in html
    assert "mobilenetv2_skip: val IoU 0.6500 (trial 9) of 4 trials, 1 of them failed; the best of 4 lies in" in html
    assert "the chance that it is behind by bad luck alone is 1." in html
