"""Published figures beside ours: which of ours, how far apart, and what is said of the difference."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from analysis import published
from analysis.published import __main__ as published_command
from analysis.published.references import REFERENCES
from analysis.published.rows import COLUMNS
from study.store import Store


def by_column(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.set_index("column")


def renamed(study: Path, dataset: str, **fields: object) -> str:
    """The same study over another dataset."""
    store = Store(str(study))
    info = store.read_json("study.json")
    info["dataset"] |= {"name": dataset, **fields}
    store.write_json("study.json", info)
    return str(study)


def test_a_bare_name_is_a_test_score_at_training_size(study: Path) -> None:
    row = published.published([str(study)]).iloc[0]
    assert (row["study"], row["configuration"], row["trial"]) == ("small", "R1 model 1 <frozen>", 0)
    assert (row["column"], row["published"], row["ours"], row["images"]) == ("test_iou", 0.5, 0.6, 2)
    assert row["difference"] == pytest.approx(0.1) and row["missing"] == ""
    assert (row["properly_column"], row["properly"]) == ("test_native_iou", 0.61)


def test_a_multi_class_study_without_a_search_space(pets: Path) -> None:
    rows = by_column(published.published([str(pets)]))
    assert rows["metric"].tolist() == [
        "train pixel accuracy",
        "test pixel accuracy",
        "test IoU, border",
        "test lowest IoU of an image",
    ]
    assert rows["ours"].tolist() == [0.85, 0.8, 0.2, pytest.approx((0.5 + 0.25 + 0) / 3)]
    assert rows["images"].tolist() == [8, 4, 4, 4]
    assert pd.isna(rows.loc["train_pixel_accuracy", "properly"])
    assert rows.loc["test_iou_class2", "properly"] == pytest.approx(0.21)
    assert rows.loc["test_iou_lowest", "properly"] == pytest.approx(0.25)
    assert set(rows["system"]) == {"R4"}


def test_a_soft_score_is_properly_the_thresholded_one(study: Path, change: Callable[..., None]) -> None:
    change(0, test={"soft_iou": 0.5, "iou": 0.7, "native_iou": 0.72, "native_soft_iou": 0.51})
    info = Store(str(study)).read_json("study.json")
    info["spec"]["baselines"][0]["published"] = {"soft_iou": 0.4}
    Store(str(study)).write_json("study.json", info)
    row = published.published([str(study)]).iloc[0]
    assert (row["ours"], row["properly"], row["properly_column"]) == (0.5, 0.72, "test_native_iou")


def test_what_differs(pets: Path) -> None:
    (differs,) = set(published.published([str(pets)])["differs"])
    assert differs.split("; ") == [
        "4 of 40 test images",
        "epoch 1 of 1, chosen on validation images",
        "epochs 1 instead of 30",
        "train images 8 instead of 3680",
        "rates are not in the report",
    ]  # batch size 16 is the same, 4 of 40 is said, and a U-Net has no pretrained weights to lack


def test_missing_encoder_weights_differ(study: Path, change: Callable[..., None]) -> None:
    assert "encoder weights" not in published.published([str(study)])["differs"][0]
    from study.store.records import read_record

    change(0, experiment=read_record(Store(str(study)), 0).experiment | {"encoder_weights": "none"})
    assert "encoder weights none instead of imagenet" in published.published([str(study)])["differs"][0]


def test_a_trial_without_test_scores_says_why(study: Path, change: Callable[..., None]) -> None:
    change(0, test=None, state="PRUNED", reason="stopped at epoch 4")
    row = published.published([str(study)]).iloc[0]
    assert pd.isna(row["ours"]) and pd.isna(row["difference"]) and pd.isna(row["properly"]) and pd.isna(row["images"])
    assert row["missing"] == "not scored on the test split"
    assert "trial 0 is PRUNED (stopped at epoch 4)" in row["differs"]


def test_a_configuration_that_has_not_run_says_so(begun: Path) -> None:
    rows = published.published([str(begun)])
    assert len(rows) == 2 and set(rows["missing"]) == {"not run yet"}
    assert rows["trial"].isna().all()


def test_a_score_that_was_never_measured_says_so(study: Path) -> None:
    info = Store(str(study)).read_json("study.json")
    info["spec"]["baselines"][0]["published"] = {"iou_class9": 0.4}
    Store(str(study)).write_json("study.json", info)
    assert published.published([str(study)])["missing"][0] == "test_iou_class9 is not in the record"


def test_several_studies_have_a_row_each(study: Path, pets: Path) -> None:
    rows = published.published([str(study), str(pets), str(study)])
    assert rows["study"].tolist() == ["small"] * 2 + ["pets"] * 4 + ["small"] * 2


def test_references_stand_beside_the_best_by_validation(study: Path, change: Callable[..., None]) -> None:
    change(0, test={"iou": 0.99, "native_iou": 0.99})
    rows = published.published([renamed(study, "isic2016", synthetic=False)])
    winner = rows[rows["kind"] == "reference"].iloc[0]
    assert winner["published"] == 0.843 and winner["trial"] == 9 and winner["ours"] == 0.61
    assert winner["properly_column"] == "" and "test images 2 instead of 379" in winner["differs"]


def test_references_before_anything_was_scored(begun: Path) -> None:
    rows = published.published([renamed(begun, "coco", class_names=["background", "person", "car"])])
    found = rows[rows["kind"] == "reference"]
    assert len(found) == sum(reference.dataset == "coco" for reference in REFERENCES) == 4
    assert found["ours"].isna().all() and set(found["missing"]) == {"no trial is scored on the test split"}


def test_text_has_a_block_a_configuration(pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert published_command.main([str(pets)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "R4 U-Net (study pets)"
    assert lines[1].split() == ["published", "ours", "difference", "properly", "images"]
    assert lines[3].split() == ["test", "pixel", "accuracy", "0.81", "0.8000", "-0.0100", "0.8100", "4"]
    assert max(map(len, lines)) <= 100 and len({len(line) for line in lines[1:6]}) == 1


def test_csv_json_and_markdown_hold_the_same_rows(pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = {}
    for name in ("csv", "json", "md"):
        assert published_command.main([str(pets), "--format", name]) == 0
        printed[name] = capsys.readouterr().out
    rows = json.loads(printed["json"])
    assert [list(row) for row in rows] == [COLUMNS] * 4
    assert rows[0]["properly"] is None and rows[1]["ours"] == 0.8
    table = list(csv.DictReader(io.StringIO(printed["csv"])))
    assert [row["column"] for row in table] == [row["column"] for row in rows]
    lines = printed["md"].splitlines()
    assert len(lines) == 6 and lines[3].startswith(
        "| pets | R4 | R4 U-Net | test pixel accuracy | 0.81 | 0.8 | -0.01 |"
    )


def test_nothing_to_compare_is_said(begun: Path, capsys: pytest.CaptureFixture[str]) -> None:
    info = Store(str(begun)).read_json("study.json")
    del info["spec"]["baselines"]
    Store(str(begun)).write_json("study.json", info)
    assert published_command.main([str(begun)]) == 0
    assert capsys.readouterr().out.startswith("no published figures")


def test_no_study_is_one_line_and_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert published_command.main([str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("error: ") and printed.err.count("\n") == 1
