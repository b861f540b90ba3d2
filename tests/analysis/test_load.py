"""A study's records as tables, held to the promised columns."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from analysis import columns, load
from seg.cli import UserError
from study.spec.spec import Search
from study.store import Store

TRIAL_TEXT = """
    trial id state reason source model loss encoder_freeze encoder_lr decoder_lr loss_dice_weight oversample batch_size
    optimizer weight_decay schedule augment normalize encoder_weights encoder_frozen_epochs seed epochs
    val_loss val_iou val_dice val_pixel_accuracy best_epoch params_trainable params_frozen train_seconds gpu_seconds
    images_per_second device
    test_iou test_native_iou test_dice
"""
EPOCH_TEXT = """
    trial epoch train_loss train_iou val_loss val_iou val_dice val_pixel_accuracy seconds encoder_lr decoder_lr
"""
TRIAL_COLUMNS, EPOCH_COLUMNS = list(TRIAL_TEXT.split()), list(EPOCH_TEXT.split())


def test_trials_have_the_promised_columns_in_order(study: Path) -> None:
    found = load.trials(str(study)).columns.tolist()
    assert found[: len(TRIAL_COLUMNS)] == TRIAL_COLUMNS
    rest = found[len(TRIAL_COLUMNS) :]
    assert {"val_sensitivity", "epochs_planned", "dataset", "image_size", "started", "finished"} <= set(rest)
    assert len(set(found)) == len(found)


def test_epochs_have_the_promised_columns_in_order(study: Path) -> None:
    table = load.epochs(str(study))
    assert table.columns.tolist()[: len(EPOCH_COLUMNS)] == EPOCH_COLUMNS
    assert len(table) == 7 * 4 + 2 + 1 + 1


def test_scores_are_those_of_the_best_epoch(study: Path, change: Callable[..., None]) -> None:
    change(9, best_epoch=2)
    rows = load.trials(str(study)).set_index("trial")
    assert rows.loc[9, "val_iou"] == pytest.approx(0.3 + 0.27 + 0.04)
    assert rows.loc[9, "val_loss"] == pytest.approx(0.55)
    assert rows.loc[9, "epochs"] == 4 and rows.loc[9, "epochs_planned"] == 4
    assert rows.loc[9, "train_seconds"] == 8.0
    assert rows.loc[9, "gpu_seconds"] == 16.0


def test_images_per_second_weigh_each_epoch_by_its_time(study: Path, change: Callable[..., None]) -> None:
    rows = [{"epoch": 1, "seconds": 1.0, "images_per_second": 10.0}]
    rows += [{"epoch": 2, "seconds": 3.0, "images_per_second": 30.0}]
    change(9, epochs=rows, best_epoch=1)
    assert load.trials(str(study)).set_index("trial").loc[9, "images_per_second"] == 25.0


def test_what_a_trial_does_not_have_is_missing(study: Path) -> None:
    rows = load.trials(str(study)).set_index("trial")
    for name in ("val_iou", "best_epoch", "train_seconds", "images_per_second"):
        assert rows.loc[[7, 10], name].isna().all(), name
    assert rows.loc[0, "encoder_freeze"] and pd.isna(rows.loc[0, "encoder_lr"])
    assert pd.isna(rows.loc[2, "loss_dice_weight"])
    assert rows["test_iou"].notna().sum() == 3
    assert rows.loc[9, "reason"] == ""


def test_whole_numbers_stay_whole_where_some_are_missing(study: Path) -> None:
    rows = load.trials(str(study))
    for name in ("trial", "epochs", "best_epoch", "batch_size", "seed", "params_trainable"):
        assert rows[name].dtype == "Int64", name
    assert rows["encoder_freeze"].dtype == "boolean"
    assert rows["val_iou"].dtype == "float64"


def test_no_test_columns_without_a_finalist(study: Path, change: Callable[..., None]) -> None:
    for trial in (0, 1, 9):
        change(trial, test=None)
    assert not [name for name in load.trials(str(study)) if name.startswith("test_")]


def test_a_study_without_trials_has_the_columns(begun: Path) -> None:
    first = ["trial", "id", "state", "reason", "source", "model", "loss"]
    assert load.trials(str(begun)).columns.tolist()[:7] == first
    assert load.epochs(str(begun)).columns.tolist() == [*EPOCH_COLUMNS, "state", "source"]
    assert load.gallery(str(begun)) == (None, [])


def test_a_table_remembers_its_study(study: Path) -> None:
    assert load.trials(str(study)).attrs["study"] == load.open_study(str(study)).info
    assert load.epochs(str(study)).attrs["study"]["name"] == "small"


def test_failures_come_with_reason_and_traceback(study: Path) -> None:
    found = load.failures(str(study)).set_index("trial")
    assert found.index.tolist() == [7, 10]
    assert "Diverged" in found.loc[7, "traceback"]


def test_counts_of_a_trial(study: Path) -> None:
    counts = load.counts(str(study), 9)
    assert counts is not None and counts["id"].nunique() == 4
    assert load.counts(str(study), 8) is None


@pytest.mark.parametrize("content", [None, b"{", b"[]", b"{}", b'{"format": 99}'])
def test_what_is_no_study_is_refused_in_one_line(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        Store(str(tmp_path)).write("study.json", content)
    with pytest.raises(UserError, match=r"study\.json") as caught:
        load.trials(str(tmp_path))
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"{", b'{"format": 99}', b'{"format": 1}'])
def test_a_damaged_record_is_refused_in_one_line(study: Path, content: bytes) -> None:
    (study / "trials" / "00004" / "record.json").write_bytes(content)
    with pytest.raises(UserError) as caught:
        load.trials(str(study))
    assert "\n" not in str(caught.value)


def test_a_home_that_nobody_has_is_refused_in_one_line() -> None:
    with pytest.raises(UserError, match="no study here"):
        load.trials("~nosuchuser/study")


def test_an_address_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UserError, match="nowhere://x"):
        load.trials("nowhere://x")


def test_a_study_in_memory_is_read_like_one_on_disk(study: Path) -> None:
    import fsspec

    fsspec.filesystem("memory").put(str(study), "/copied", recursive=True)
    assert load.trials("memory://copied").equals(load.trials(str(study)))


def test_what_a_trial_cost_is_its_share_of_what_the_machines_have(study: Path, change: Callable[..., None]) -> None:
    """Two hours of one kind of node and one of another; trials of 2 GPUs, or of three workers without a GPU."""
    store = Store(str(study))
    info = store.read_json("study.json")
    assert "cost" not in load.trials(str(study))
    info["spec"]["resources"] = {"price_per_hour": {"default": 9.0, "big": 30.0}}
    store.write_json("study.json", info)
    assert "cost" not in load.trials(str(study)), "a study from before its hours were kept"
    store.write_json("spent.json", {"hours": 2.0, "node_hours": {"": 2.0, "big": 1.0}})
    change(8, gpus=0.0, workers=3)
    trials = load.trials(str(study)).set_index("trial")
    lane_seconds = 2 * trials["train_seconds"].drop(8).sum() + 3 * trials.at[8, "train_seconds"]
    assert trials["cost"].sum() == pytest.approx(2 * 9 + 30)
    assert trials.at[9, "cost"] == pytest.approx(48 * 2 * 8 / lane_seconds)
    assert trials.at[8, "cost"] == pytest.approx(48 * 3 * 8 / lane_seconds)
    assert pd.isna(trials.at[7, "cost"]), "it finished no epoch"


def test_which_trial_a_replicate_repeats(study: Path, change: Callable[..., None]) -> None:
    change(8, source="replicate", replicate_of=9)
    trials = load.trials(str(study)).set_index("trial")
    assert trials.at[8, "replicate_of"] == 9 and trials["replicate_of"].notna().sum() == 1
    columns = trials.columns.tolist()
    assert columns.index("replicate_of") > columns.index("finished"), "behind all that is promised"


def test_a_trial_is_on_a_lane_as_often_as_it_goes_on(study: Path, change: Callable[..., None]) -> None:
    """Trial 8 paused, 9 is of an older version, 7 was killed on its lane."""
    times = [f"2026-11-05T09:{minute:02d}:00+00:00" for minute in range(60)]
    first, then = ({"lane": f"lane-{n}", "started": times[2 * n], "finished": times[2 * n + 1]} for n in (0, 1))
    change(8, extra={"lane": "lane-1", "stints": [first, then]})
    change(9, extra={"lane": "lane-0"}, started=times[0], finished=times[40])
    change(7, extra={"lane": "lane-0", "stints": [first | {"finished": ""}]})
    found = load.stints(str(study))
    assert found[found["trial"] == 8][["lane", "started", "finished"]].to_dict("records") == [first, then]
    assert found[found["trial"] == 9]["started"].tolist() == ["2026-11-05T09:39:52+00:00"]  # 8 s before its end
    assert 7 not in set(found["trial"]) and found.attrs == load.trials(str(study)).attrs


def test_every_choice_of_a_search_is_a_hyperparameter_of_the_table() -> None:
    """The precision is that which the device has; it is a column by itself."""
    known = {"model", "loss", "precision", *columns.FIRST, *columns.OTHERS}
    assert set(Search.model_fields) <= known
