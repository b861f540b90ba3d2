"""The numbers of classes, by hand."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from analysis import load, ranking
from analysis.scores import classes
from study.store import Store
from study.store.records import read_record


def test_shares_are_of_the_true_class(pets: Path) -> None:
    table = load.confusion(str(pets), 1)
    assert table is not None
    found = classes.taken_for(table)
    shares = found.pivot(index="truth", columns="prediction", values="share")
    assert shares.loc["background", "pet"] == pytest.approx(20 / 125)
    assert shares.loc["pet", "background"] == pytest.approx(10 / 60)
    assert shares.loc["border"].tolist() == [1, 0, 0]
    assert found["pixels"].sum() == 200


def test_the_test_split_is_counted_at_training_size_alone(pets: Path) -> None:
    table = load.confusion(str(pets), 1, "test")
    assert table is not None and table["pixels"].sum() == 1000
    assert classes.taken_for(table)["pixels"].sum() == 200


def test_a_class_that_is_nowhere_has_no_share(pets: Path) -> None:
    table = load.confusion(str(pets), 1)
    assert table is not None
    table.loc[table["truth"] == 2, "pixels"] = 0
    found = classes.taken_for(table).set_index("truth")
    assert found.loc["border", "share"].isna().all() and found.loc["pet", "share"].notna().all()


def test_confusion_that_was_not_kept_is_none(study: Path) -> None:
    assert load.confusion(str(study), 9) is None


def test_ious_by_class_on_the_test_split(pets: Path) -> None:
    found = classes.ious(load.trials(str(pets)))
    assert found.attrs["split"] == "test"
    assert found.columns.tolist() == ["background", "pet", "border"]
    assert found.loc[0].tolist() == [0.9, 0.6, 0.2] and found.loc[1, "border"] == pytest.approx(0.3)


def test_ten_classes_and_more_stay_in_order() -> None:
    columns = {f"val_iou_class{index}": [index / 100] for index in range(12)}
    trials = pd.DataFrame({"trial": [0], "source": ["search"], "state": ["COMPLETE"], "val_iou": [0.5], **columns})
    assert classes.ious(trials).columns.tolist() == [f"class {index}" for index in range(12)]
    assert classes.worst(trials) == ("class 0", 0.0)


def test_the_worst_class_is_of_the_best_trial(pets: Path, study: Path) -> None:
    found = classes.worst(load.trials(str(pets)))
    assert found is not None and found[0] == "border" and found[1] == pytest.approx(0.3)
    assert classes.worst(load.trials(str(study))) is None
    assert classes.ious(load.trials(str(study))).empty


def test_what_an_image_holds_and_what_was_found(pets: Path) -> None:
    counts = load.counts(str(pets), 1)
    assert counts is not None
    names = ["background", "pet", "border"]
    expected = "pet 20.0% of the image, predicted 30.0%; border 15.0% of the image, predicted 0.0%"
    assert classes.in_image(counts, "b", names) == expected
    assert classes.in_image(counts, "a", names) == "pet 40.0% of the image, predicted 40.0%"


def test_class_shares_before_and_after_oversampling(pets: Path) -> None:
    table = load.class_shares(str(pets), 1).set_index("name")
    assert table.loc["border", "pixel_share"] == 0.02 and table.loc["border", "sampled_image_share"] == 0.6
    for trial in (0, None, 99):  # draws every image once; is not asked for; is not there
        assert list(load.class_shares(str(pets), trial)) == ["class", "name", "pixel_share", "image_share"]


def test_class_shares_that_were_not_kept_are_empty(study: Path) -> None:
    assert load.class_shares(str(study), 9).empty


def test_contenders_are_the_best_the_published_and_the_finalists(study: Path, change: Callable[..., None]) -> None:
    change(8, test={"iou": 0.5})
    scored, split = ranking.contenders(load.trials(str(study)))
    assert sorted(scored.index) == [0, 1, 8, 9] and split == "test"
    assert sorted(ranking.radar_scores(load.trials(str(study))).index) == [0, 1, 9]
    change(0, test=None)
    assert ranking.contenders(load.trials(str(study)))[1] == "val"


def test_radar_of_several_classes_has_their_scores(pets: Path) -> None:
    scores = ranking.radar_scores(load.trials(str(pets)))
    names = "iou iou_foreground dice dice_foreground soft_iou soft_dice pixel_accuracy class_accuracy"
    assert scores.columns.tolist() == names.split()
    assert scores.notna().all(axis=None)


def test_a_failed_leader_leaves_no_worst_class(pets: Path) -> None:
    store = Store(str(pets))
    for trial in (0, 1):
        record = read_record(store, trial)
        store.write_json(
            f"{record.folder}/record.json",
            {**store.read_json(f"{record.folder}/record.json"), "state": "RUNNING"},
        )
    assert classes.worst(load.trials(str(pets))) is None
