"""Finalists held against each other: generated records of models whose true quality is known."""

import json
from typing import Any

import pandas as pd
import pytest
from generated import IMAGES, counts, study_json, write_parquet, written

from analysis import finalists, load
from study.store import Store


def test_a_better_model_leads_and_equal_ones_are_tied(tmp_path):
    found = finalists.finalists([str(written(tmp_path / "a", [0.8, 0.801, 0.7]))])
    tested = finalists.pairs(found)
    standing = finalists.standings(found, "iou", tested)

    assert finalists.place(found) == "native"
    assert {row.trial: row.ties for row in standing} == {0: "a", 1: "a", 2: "b"}
    assert {row.trial for row in standing[:2]} == {0, 1} and standing[2].trial == 2
    assert [row.told_apart for row in tested] == [False, True, True]
    assert all(row.low < row.score < row.high for row in standing)


def test_selection_is_said_to_have_flattered(tmp_path):
    """The validation images are found 0.05 better here."""
    found = finalists.finalists([str(written(tmp_path / "a", [0.8]))])
    (row,) = finalists.standings(found, "iou", [])

    assert row.drop == pytest.approx(0.045, abs=0.015)
    assert row.drop_low < row.drop < row.drop_high


def test_finalists_of_several_studies_compare(tmp_path, capsys):
    folders = [written(tmp_path / name, [quality], name) for name, quality in (("good", 0.85), ("bad", 0.7))]

    assert finalists.main([*map(str, folders)]) == 0
    said = capsys.readouterr().out

    assert f"test iou at the masks' own size, {IMAGES} images" in said
    assert said.index("good/0  a") < said.index("bad/0   b")
    assert "good/0 - bad/0: +0." in said and "not told apart" not in said.splitlines()[-1]


def test_other_test_images_are_refused(tmp_path, capsys):
    one, other = written(tmp_path / "a", [0.8], "one"), written(tmp_path / "b", [0.8], "other")
    table = pd.read_parquet(other / "trials/00000/test_counts.parquet")
    write_parquet(Store(str(other)), "trials/00000/test_counts.parquet", table[table["id"] != "test0"])

    assert finalists.main([str(one), str(other)]) == 2
    assert f"other: its {IMAGES - 1} test images are not the {IMAGES} of one" in capsys.readouterr().err


def test_studies_of_one_name_are_told_apart_by_their_addresses(tmp_path, capsys):
    folders = [str(written(tmp_path / name, [quality], "same")) for name, quality in (("a", 0.85), ("b", 0.7))]

    assert finalists.main(folders) == 0
    assert f"{folders[0]}/0 - {folders[1]}/0: +0." in capsys.readouterr().out
    assert finalists.main([folders[0], folders[0]]) == 2
    assert f"{folders[0]}: is given twice" in capsys.readouterr().err


def test_other_classes_and_other_sizes_are_refused(tmp_path, capsys):
    one, other = (written(tmp_path / name, [0.8], name) for name in ("one", "other"))
    path = other / "trials/00000/test_counts.parquet"
    table = pd.read_parquet(path)
    write_parquet(Store(str(other)), "trials/00000/test_counts.parquet", table[table["size"] == "train"])
    record = json.loads((other / "trials/00000/record.json").read_text())
    record["experiment"]["image_size"] = 128
    (other / "trials/00000/record.json").write_text(json.dumps(record))
    assert finalists.main([str(one), str(other)]) == 2
    assert "other: was counted at 128 px, one at 64, and not all at the masks' own size" in capsys.readouterr().err

    more = pd.concat([table, table[table["class"] == 1].assign(**{"class": 2})])
    write_parquet(Store(str(other)), "trials/00000/test_counts.parquet", more)
    assert finalists.main([str(one), str(other)]) == 2
    assert "other: has 3 classes, one 2" in capsys.readouterr().err


def test_a_single_finalist_has_no_pairs_but_their_columns(tmp_path, capsys):
    folder = str(written(tmp_path / "a", [0.8]))

    assert finalists.main([folder, "--pairs", "--format", "csv"]) == 0
    assert capsys.readouterr().out == "study,trial,other_study,other_trial,difference,low,high,p,p_adjusted\n"


def test_formats(tmp_path, capsys):
    folder = written(tmp_path / "a", [0.8, 0.7])

    assert finalists.main([str(folder), "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["trial"] for row in rows] == [0, 1] and rows[0]["ties"] == "a"

    assert finalists.main([str(folder), "--format", "csv", "--pairs", "--score", "dice_pooled"]) == 0
    assert capsys.readouterr().out.startswith("study,trial,other_study,other_trial,difference,low,high,p,p_adjusted\n")


def test_a_score_that_is_none_is_refused(tmp_path, capsys):
    assert finalists.main([str(written(tmp_path / "a", [0.8])), "--score", "iou_lowest"]) == 2
    assert "--score iou_lowest: is not known; choose from iou, dice," in capsys.readouterr().err


def test_a_study_without_finalists_says_so(begun, capsys):
    assert finalists.main([str(begun)]) == 2
    assert "no trial was scored on the sealed test split yet" in capsys.readouterr().err


def test_the_objective_decides_the_score(tmp_path):
    spec = study_json()["spec"] | {"objective": {"metric": "val_dice", "mode": "max"}}
    opened = load.open_study(str(written(tmp_path / "a", [0.8], spec=spec)))

    assert finalists.default_score(opened, finalists.finalists([opened])) == "dice"
    by_loss = load.open_study(
        str(written(tmp_path / "b", [0.8], spec=spec | {"objective": {"metric": "val_loss", "mode": "min"}}))
    )
    assert finalists.default_score(by_loss, finalists.finalists([by_loss])) == "iou"


def test_two_classes_of_models_in_many_studies_are_told_apart_as_rarely_as_promised(tmp_path):
    """Five equal models, ten pairs, 40 studies: one in twenty studies may find a difference where there is none."""
    wrong = 0
    for seed in range(40):
        models = [finalists.Finalist("s", i, "search", 64, (), {"train": made(seed * 5 + i)}, None) for i in range(5)]
        wrong += any(pair.told_apart for pair in finalists.pairs(models))

    assert wrong <= 6  # P(more than 6 of 40 at 5 %) = 0.3 %


def made(seed: int) -> Any:
    from analysis.ratios import sums

    return sums(counts(seed, 0.8))


def test_a_finalist_whose_counts_are_gone_is_left_out(tmp_path):
    folder = written(tmp_path / "a", [0.8, 0.7])
    (folder / "trials/00001/test_counts.parquet").unlink()

    assert [one.trial for one in finalists.finalists([str(folder)])] == [0]


@pytest.fixture(autouse=True)
def _fewer_draws(monkeypatch):
    """Enough to tell what these tests tell."""
    monkeypatch.setattr("analysis.uncertainty.difference.__defaults__", (300, 1000))


def test_unknown_studies_are_refused(tmp_path, capsys):
    assert finalists.main([str(tmp_path / "nowhere")]) == 2
    assert "no study here" in capsys.readouterr().err
