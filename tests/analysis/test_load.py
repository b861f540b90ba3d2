import json
from pathlib import Path

import pandas as pd
import pytest

from analysis import load, table

TRIAL_COLUMNS = """
    trial id state reason source model loss encoder_freeze encoder_lr decoder_lr loss_dice_weight oversample batch_size
"""
SCORE_COLUMNS = """
    seed epochs val_loss val_iou val_dice val_pixel_accuracy best_epoch params_trainable params_frozen train_seconds
    gpu_seconds images_per_second device test_iou test_native_iou
"""


def test_trials_have_the_contracts_columns_in_order(study: Path) -> None:
    columns = load.trials(study).columns.tolist()
    assert columns[:13] == TRIAL_COLUMNS.split()
    start = columns.index("seed")
    assert columns[start : start + 15] == SCORE_COLUMNS.split()


def test_epochs_have_the_contracts_columns_in_order(study: Path) -> None:
    wanted = (
        "trial epoch train_loss train_iou val_loss val_iou val_dice val_pixel_accuracy seconds encoder_lr decoder_lr"
    )
    assert load.epochs(study).columns.tolist()[:11] == wanted.split()


def test_scores_are_those_of_the_best_epoch(study: Path) -> None:
    rows = load.trials(study).set_index("trial")
    assert rows.loc[9, "val_iou"] == pytest.approx(0.3 + 0.27 + 0.08)
    assert rows.loc[9, "best_epoch"] == 4
    assert rows.loc[9, "train_seconds"] == 8.0
    assert rows.loc[9, "gpu_seconds"] == 16.0


def test_trials_without_an_epoch_have_no_score(study: Path) -> None:
    rows = load.trials(study).set_index("trial")
    assert rows.loc[[7, 10], "val_iou"].isna().all()
    assert rows.loc[7, "reason"] == "training loss is nan in epoch 1"
    assert rows["test_iou"].notna().sum() == 1


def test_no_test_columns_without_a_finalist(study: Path) -> None:
    path = study / "trials" / "00009" / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"test": None}))
    assert not [name for name in load.trials(study) if name.startswith("test_")]


def test_json_is_strict_and_csv_round_trips(study: Path) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    rows = json.loads(table.to_json(load.trials(study)), parse_constant=refuse)
    assert len(rows) == 12 and rows[7]["val_iou"] is None
    assert rows[9]["val_iou"] == load.trials(study)["val_iou"][9]


def test_markdown_has_a_line_a_trial(study: Path) -> None:
    lines = table.to_markdown(load.trials(study)).splitlines()
    assert len(lines) == 14 and {line.count(" | ") for line in (lines[0], lines[5])} == {lines[0].count(" | ")}


def test_the_command_prints_what_was_asked_for(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert table.main([str(study), "--epochs", "--format", "csv"]) == 0
    assert capsys.readouterr().out.startswith("trial,epoch,train_loss")


def test_no_study_is_one_line_and_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert table.main([str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1


def test_an_empty_study_has_the_columns(tmp_path: Path) -> None:
    assert load.trial_table([]).columns.tolist()[:3] == ["trial", "id", "state"]
    assert isinstance(load.epoch_table([]), pd.DataFrame)
