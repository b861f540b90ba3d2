"""The table on standard output: CSV, strict JSON, Markdown."""

import io
import json
from pathlib import Path

import pandas as pd
import pytest

from analysis import load, table


def refuse(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def test_csv_is_the_default_and_round_trips(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert table.main([str(study)]) == 0
    read = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert read["trial"].tolist() == list(range(12))
    assert read["val_iou"].dropna().tolist() == load.trials(str(study))["val_iou"].dropna().tolist()
    assert read["source"][0] == "R1 model 1 <frozen>"


def test_json_is_strict(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert table.main([str(study), "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert list(rows[0]) == load.trials(str(study)).columns.tolist()
    assert rows[7]["val_iou"] is None and rows[7]["best_epoch"] is None
    assert rows[0]["encoder_freeze"] is True and rows[0]["encoder_lr"] is None
    assert rows[9]["best_epoch"] == 4 and rows[9]["test_native_iou"] == 0.61


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_json_of_a_number_that_is_none_is_never_lax(value: float) -> None:
    rows = pd.DataFrame({"x": [value]})
    if value == value:
        with pytest.raises(ValueError, match="JSON"):
            table.to_json(rows)
    else:
        assert json.loads(table.to_json(rows), parse_constant=refuse) == [{"x": None}]


def test_markdown_escapes_and_aligns() -> None:
    lines = table.to_markdown(pd.DataFrame({"a": ["x|y", "z\nw"], "b": [1.0, None]})).splitlines()
    assert lines == ["| a | b |", "| --- | ---: |", "| x\\|y | 1 |", "| z w |  |"]


def test_epochs_are_the_promised_columns_and_no_others(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert table.main([str(study), "--epochs"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    wanted = (
        "trial,epoch,train_loss,train_iou,val_loss,val_iou,val_dice,val_pixel_accuracy,seconds,encoder_lr,decoder_lr"
    )
    assert header == wanted
    assert len(lines) == len(load.epochs(str(study)))


@pytest.mark.parametrize("arguments", [[], ["a", "--format", "xml"]])
def test_a_mistyped_command_is_one_line_and_exit_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        table.main(arguments)
    error = capsys.readouterr().err
    assert ended.value.code == 2 and error.startswith("error: ") and error.count("\n") == 1


def test_no_study_is_one_line_and_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert table.main([str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("error: ") and printed.err.count("\n") == 1
