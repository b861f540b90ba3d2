"""Finalists held against each other: generated records of models whose true quality is known."""

import io
import json
import math
import re
import statistics
from typing import Any

import pandas as pd
import pytest
from generated import IMAGES, counts, study_json, write_parquet, written

from analysis import load
from analysis.finalists import __main__ as finalists_command
from analysis.finalists import sealed, standings
from analysis.report.tables import rivals
from analysis.scores.uncertainty import interval
from study.store import Store


def test_a_better_model_leads_and_equal_ones_are_tied(tmp_path):
    found = sealed.finalists([str(written(tmp_path / "a", [0.8, 0.801, 0.7]))])
    tested = standings.pairs(found)
    standing = standings.standings(found, "iou", tested)

    assert sealed.place(found) == "native"
    assert {row.trial: row.ties for row in standing} == {0: "a", 1: "a", 2: "b"}
    assert {row.trial for row in standing[:2]} == {0, 1} and standing[2].trial == 2
    assert [row.significant for row in tested] == [False, True, True]
    assert all(row.low < row.score < row.high for row in standing)


def test_selection_is_said_to_have_flattered(tmp_path):
    """The validation images are found 0.05 better here."""
    found = sealed.finalists([str(written(tmp_path / "a", [0.8]))])
    (row,) = standings.standings(found, "iou", [])

    assert row.drop == pytest.approx(0.045, abs=0.015)
    assert row.drop_low < row.drop < row.drop_high


def test_finalists_of_several_studies_compare(tmp_path, capsys):
    folders = [written(tmp_path / name, [quality], name) for name, quality in (("good", 0.85), ("bad", 0.7))]

    assert finalists_command.main([*map(str, folders)]) == 0
    said = capsys.readouterr().out

    assert f"test iou at the masks' own size, {IMAGES} images" in said
    assert said.index("good/0  a") < said.index("bad/0   b")
    assert "good/0 - bad/0: +0." in said and "not significantly different" not in said.splitlines()[-2]
    assert said.splitlines()[-1].startswith("image by image the mean IoU is 0.")


def test_images_that_are_hard_for_all_come_first(tmp_path, capsys):
    folder = written(tmp_path / "a", [0.8, 0.7])
    rows = standings.hard_images(sealed.finalists([str(folder)]))

    by_trial = standings.image_scores(sealed.finalists([str(folder)])).pivot(index="id", columns="trial", values="iou")
    assert rows["mean"].is_monotonic_increasing and len(rows) == IMAGES
    assert rows.set_index("id")["mean"].to_dict() == pytest.approx(by_trial.mean(axis=1).to_dict())
    assert (rows["lowest"] <= rows["mean"]).all() and (rows["mean"] <= rows["highest"]).all()
    assert standings.lacking(sealed.finalists([str(folder)])).endswith(
        f", and the best training on each image would have {by_trial.max(axis=1).mean():.4f}"
    )
    assert finalists_command.main([str(folder), "--images", "--format", "csv"]) == 0
    said = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert said["id"].tolist() == rows["id"].tolist()


def test_an_ensemble_stands_among_the_finalists(tmp_path, capsys):
    folder = written(tmp_path / "a", [0.8, 0.7])
    told = {"name": "0+1 flips", "trials": [0, 1], "flips": True, "test": {"native_iou": 0.9}}
    Store(str(folder)).write_json("ensembles/0+1-flips.json", told)
    write_parquet(Store(str(folder)), "ensembles/0+1-flips.parquet", counts(3, 0.9, pixels=64000).assign(size="native"))

    assert finalists_command.main([str(folder)]) == 0
    said = capsys.readouterr().out
    assert said.index("0+1 flips  a") < said.index("\n0          b") and "0+1 flips - 0: +0." in said
    found = sealed.finalists([str(folder)])
    table = rivals(found, "iou")
    assert table is not None and table.says.startswith("What 0+1 flips predicts is better than every other finalist.")
    assert table.says.endswith("--finalist-seeds 3 shows it.") and "each was trained once" in said
    assert list(standings.seed_scores(found)["trial"]) == [0, 1], "an ensemble has no seed"
    assert "0+1 flips" in set(standings.image_scores(found)["finalist"])


@pytest.mark.parametrize("counted", [False, True])
def test_an_ensemble_that_cannot_be_read_says_so(tmp_path, capsys, counted):
    """Without its counts, or with a file that is none of ours."""
    folder = written(tmp_path / "a", [0.8])
    told = {"name": "0", "trials": [0], "flips": False} if not counted else {"name": "0"}
    Store(str(folder)).write_json("ensembles/0.json", told)
    if counted:
        write_parquet(Store(str(folder)), "ensembles/0.parquet", counts(3, 0.9).assign(size="native"))

    assert finalists_command.main([str(folder)]) == 2
    error = capsys.readouterr().err
    assert "ensembles/0: cannot be read" in error and error.count("\n") == 1


def test_other_test_images_are_refused(tmp_path, capsys):
    one, other = written(tmp_path / "a", [0.8], "one"), written(tmp_path / "b", [0.8], "other")
    table = pd.read_parquet(other / "trials/00000/test_counts.parquet")
    write_parquet(Store(str(other)), "trials/00000/test_counts.parquet", table[table["id"] != "test0"])

    assert finalists_command.main([str(one), str(other)]) == 2
    assert f"other: its {IMAGES - 1} test images are not the {IMAGES} of one" in capsys.readouterr().err


def test_studies_of_one_name_are_told_apart_by_their_addresses(tmp_path, capsys):
    folders = [str(written(tmp_path / name, [quality], "same")) for name, quality in (("a", 0.85), ("b", 0.7))]

    assert finalists_command.main(folders) == 0
    assert f"{folders[0]}/0 - {folders[1]}/0: +0." in capsys.readouterr().out
    assert finalists_command.main([folders[0], folders[0]]) == 2
    assert f"{folders[0]}: is given twice" in capsys.readouterr().err


def test_other_classes_and_other_sizes_are_refused(tmp_path, capsys):
    one, other = (written(tmp_path / name, [0.8], name) for name in ("one", "other"))
    path = other / "trials/00000/test_counts.parquet"
    table = pd.read_parquet(path)
    write_parquet(Store(str(other)), "trials/00000/test_counts.parquet", table[table["size"] == "train"])
    record = json.loads((other / "trials/00000/record.json").read_text())
    record["experiment"]["image_size"] = 128
    (other / "trials/00000/record.json").write_text(json.dumps(record))
    assert finalists_command.main([str(one), str(other)]) == 2
    assert "other: was counted at 128 px, one at 64, and not all at the masks' own size" in capsys.readouterr().err

    more = pd.concat([table, table[table["class"] == 1].assign(**{"class": 2})])
    write_parquet(Store(str(other)), "trials/00000/test_counts.parquet", more)
    assert finalists_command.main([str(one), str(other)]) == 2
    assert "other: has 3 classes, one 2" in capsys.readouterr().err


def test_a_single_finalist_has_no_pairs_but_their_columns(tmp_path, capsys):
    folder = str(written(tmp_path / "a", [0.8]))

    assert finalists_command.main([folder, "--pairs", "--format", "csv"]) == 0
    assert capsys.readouterr().out == "study,trial,other_study,other_trial,difference,low,high,p,p_adjusted\n"


def test_formats(tmp_path, capsys):
    folder = written(tmp_path / "a", [0.8, 0.7])

    assert finalists_command.main([str(folder), "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["trial"] for row in rows] == [0, 1] and rows[0]["ties"] == "a"

    assert finalists_command.main([str(folder), "--format", "csv", "--pairs", "--score", "dice_pooled"]) == 0
    assert capsys.readouterr().out.startswith("study,trial,other_study,other_trial,difference,low,high,p,p_adjusted\n")


def test_a_score_that_is_none_is_refused(tmp_path, capsys):
    assert finalists_command.main([str(written(tmp_path / "a", [0.8])), "--score", "iou_lowest"]) == 2
    assert "--score iou_lowest: is not known; choose from iou, dice," in capsys.readouterr().err


def test_a_study_without_finalists_says_so(begun, capsys):
    assert finalists_command.main([str(begun)]) == 2
    assert "no trial was scored on the sealed test split yet" in capsys.readouterr().err


def test_the_objective_decides_the_score(tmp_path):
    spec = study_json()["spec"] | {"objective": {"metric": "val_dice", "mode": "max"}}
    opened = load.open_study(str(written(tmp_path / "a", [0.8], spec=spec)))

    assert sealed.default_score(opened, sealed.finalists([opened])) == "dice"
    by_loss = load.open_study(
        str(written(tmp_path / "b", [0.8], spec=spec | {"objective": {"metric": "val_loss", "mode": "min"}}))
    )
    assert sealed.default_score(by_loss, sealed.finalists([by_loss])) == "iou"


def test_two_classes_of_models_in_many_studies_are_told_apart_as_rarely_as_promised(tmp_path):
    """Five equal models, ten pairs, 40 studies: one in twenty studies may find a difference where there is none."""
    wrong = 0
    for seed in range(40):
        models = [sealed.Finalist("s", i, "search", 64, (), {"train": made(seed * 5 + i)}, None) for i in range(5)]
        wrong += any(pair.significant for pair in standings.pairs(models))

    assert wrong <= 6  # P(more than 6 of 40 at 5 %) = 0.3 %


def made(seed: int) -> Any:
    from analysis.scores.ratios import sums

    return sums(counts(seed, 0.8))


def test_a_finalist_whose_counts_are_gone_is_left_out(tmp_path):
    folder = written(tmp_path / "a", [0.8, 0.7])
    (folder / "trials/00001/test_counts.parquet").unlink()

    assert [one.trial for one in sealed.finalists([str(folder)])] == [0]


@pytest.fixture(autouse=True)
def _fewer_draws(monkeypatch):
    """Enough to tell what these tests tell."""
    monkeypatch.setattr("analysis.scores.uncertainty.difference.__defaults__", (300, 1000))


def test_unknown_studies_are_refused(tmp_path, capsys):
    assert finalists_command.main([str(tmp_path / "nowhere")]) == 2
    assert "no study here" in capsys.readouterr().err


def test_seeds_of_a_finalist_are_one_row_with_their_spread(tmp_path, capsys):
    """Trials 2 and 3 are trial 0 again: the deviation is that of the three scores, by the standard library."""
    folder = written(tmp_path / "a", [0.8, 0.7, 0.82, 0.77], repeats={2: 0, 3: 0})
    found = sealed.finalists([str(folder)])
    first, second = standings.standings(found, "iou", tested := standings.pairs(found))
    each, score_of = standings.seed_scores(found), sealed.score_of(found, "iou").of

    assert [row.trial for row in (first, second)] == [0, 1] and len(tested) == 1
    assert each["trial"].tolist() == [0, 2, 3, 1] and each["seed"].tolist() == [0, 2, 3, 0]
    scores = each["score"].tolist()
    assert (first.seeds, first.score) == (3, pytest.approx(statistics.mean(scores[:3])))
    assert first.deviation == pytest.approx(statistics.stdev(scores[:3]))
    assert (second.seeds, second.score, math.isnan(second.deviation)) == (1, pytest.approx(scores[3]), True)

    assert first.low < first.score < first.high
    assert tested[0].difference == pytest.approx(first.score - second.score)
    every = standings.every_score(found).set_index(["trial", "score"])["value"]
    assert every[0, "iou"] == pytest.approx(first.score), "no other number than in the standings"
    drops = [score_of(each.val) - score_of(each.test["train"]) for each in found[0].trainings]
    assert first.drop == pytest.approx(statistics.mean(drops))

    assert finalists_command.main([str(folder)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[1].split() == ["trial", "ties", "iou", "interval", "val", "-", "test", "over", "its", "seeds", "source"]
    assert not any("trained once" in line for line in said)
    assert f"± {first.deviation:.4f} (3)" in said[2] and "±" not in said[3]


def test_a_replicate_without_its_finalist_is_left_out(tmp_path):
    folder = written(tmp_path / "a", [0.8, 0.7], repeats={1: 9})

    assert [one.trial for one in sealed.finalists([str(folder)])] == [0]


def test_whether_the_seed_matters_more_than_the_choice_is_said(tmp_path):
    close = rivals(
        sealed.finalists([str(written(tmp_path / "a", [0.8, 0.79, 0.86, 0.74], repeats={2: 0, 3: 0}))]), "iou"
    )
    far = rivals(sealed.finalists([str(written(tmp_path / "b", [0.8, 0.5, 0.82, 0.78], repeats={2: 0, 3: 0}))]), "iou")

    assert close and re.search(
        r"With its seed trial 0 varies by ±.0\.0\d+; trials . and . differ by .*, less than", close.says
    )
    assert far and "trials 0 and 1 differ by 0.2" in far.says and far.says.endswith("more than that.")


def test_every_score_of_every_finalist_has_its_interval(tmp_path, capsys):
    folder = str(written(tmp_path / "a", [0.8, 0.7]))
    found = sealed.finalists([folder])
    every = standings.every_score(found)

    for score in ("iou", "dice_pooled", "sensitivity"):
        told = {one.trial: interval(one.test["native"], sealed.score_of(found, score)) for one in found}
        for row in every[every["score"] == score].itertuples():
            assert (row.low, row.high) == pytest.approx(told[row.trial])
            assert row.low < row.value < row.high
    assert finalists_command.main([folder, "--all-scores", "--format", "csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(every) and len(every) > 2 * 10
