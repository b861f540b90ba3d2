"""The numbers behind the figures."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from generated import trials as random_trials

from analysis import load, ranking
from analysis.hyperparameters import advice, effects, importance


@pytest.fixture
def trials(study: Path) -> pd.DataFrame:
    return load.trials(str(study))


def aimed(trials: pd.DataFrame, metric: str, mode: str) -> pd.DataFrame:
    copy = trials.copy()
    copy.attrs = {"study": {"spec": {"objective": {"metric": metric, "mode": mode}}}}
    return copy


def test_a_trial_leads_only_when_complete(trials: pd.DataFrame) -> None:
    trials.loc[trials["trial"] == 3, "val_iou"] = 0.99
    leader = ranking.best(trials)
    assert leader is not None and leader["trial"] == 9
    assert ranking.ranked(trials)["trial"].iloc[0] == 3


def test_ranked_puts_trials_without_a_score_last(trials: pd.DataFrame) -> None:
    order = ranking.ranked(trials)
    assert order["trial"].tolist()[-2:] == [7, 10]
    assert order["val_iou"].dropna().is_monotonic_decreasing
    assert ranking.ranked(aimed(trials, "val_loss", "min"))["val_loss"].dropna().is_monotonic_increasing


def test_nothing_leads_before_a_trial_is_complete(trials: pd.DataFrame) -> None:
    assert ranking.best(trials[trials["state"] != "COMPLETE"]) is None


def test_history_is_in_the_order_that_trials_ended(trials: pd.DataFrame) -> None:
    trials.loc[trials["trial"] == 8, "finished"] = "2025-01-01T00:00:00+00:00"
    steps = ranking.history(trials)
    assert steps["trial"].tolist() == [8, 0, 1, 2, 3, 4, 5, 6, 9]
    assert steps["ended"].tolist() == list(range(1, 10))
    assert steps["seconds"].tolist() == [8, 16, 24, 32, 36, 44, 52, 54, 62]
    assert steps["best"].iloc[0] == steps["best"].iloc[-2] < steps["best"].iloc[-1]


def test_a_trial_stopped_early_is_in_the_history_but_never_its_best(trials: pd.DataFrame) -> None:
    trials.loc[trials["trial"] == 3, "val_iou"] = 0.99
    assert ranking.history(trials)["best"].max() == ranking.best(trials)["val_iou"]  # type: ignore[index]


def test_history_of_a_loss_falls(trials: pd.DataFrame) -> None:
    assert ranking.history(aimed(trials, "val_loss", "min"))["best"].is_monotonic_decreasing


def test_varied_choices(trials: pd.DataFrame) -> None:
    varied = ["model", "loss", "encoder_freeze", "encoder_lr", "decoder_lr", "loss_dice_weight"]
    assert ranking.varied(trials) == varied


def test_a_choice_that_only_some_trials_have_is_varied(trials: pd.DataFrame) -> None:
    trials["loss_dice_weight"] = trials["loss_dice_weight"].where(trials["loss_dice_weight"].isna(), 0.5)
    assert "loss_dice_weight" in ranking.varied(trials)


WRITTEN = [
    (True, "yes"),
    (0.00015, "1.5e-4"),
    (1e-05, "1.0e-5"),
    (0.123456, "0.123"),
    (16, "16"),
    (0.0, "0"),
    ("a", "a"),
]


@pytest.mark.parametrize(("value", "text"), WRITTEN)
def test_values_as_people_write_them(value: Any, text: str) -> None:
    assert ranking.text(value) == text


def test_image_iou_by_hand(study: Path) -> None:
    counts = load.counts(str(study), 9)
    assert counts is not None
    assert ranking.image_iou(counts).to_dict() == {"a": 1.0, "b": 0.5, "c": 0.25, "d": 0.0}


def test_image_iou_of_several_classes_leaves_absent_ones_out() -> None:
    tp, fp, fn = [5, 2, 0], [0, 1, 0], [0, 1, 0]
    counts = pd.DataFrame({"id": ["a"] * 3, "class": [0, 1, 2], "tp": tp, "fp": fp, "fn": fn, "tn": [0] * 3})
    assert ranking.image_iou(counts).to_dict() == {"a": 0.75}


def test_radar_takes_the_test_split_where_all_were_scored(trials: pd.DataFrame) -> None:
    scores = ranking.radar_scores(trials)
    assert scores.attrs["split"] == "test" and scores.index.tolist() == [0, 1, 9]
    trials.loc[trials["trial"] == 9, "test_iou"] = np.nan
    assert ranking.radar_scores(trials).attrs["split"] == "val"


def test_seed_replicates_change_no_comparison_of_choices() -> None:
    """Each of them better than any trial of the search: a tenth of the trials again."""
    table = random_trials(3, 60)
    again = table.tail(6).assign(trial=range(60, 66), source="replicate", val_iou=0.99, seed=1)
    both = pd.concat([table, again], ignore_index=True)
    both.attrs = table.attrs
    epochs = both[["trial", "source", "state", "val_iou"]].assign(epoch=4, train_loss=1.0, val_loss=1.0)
    epochs.attrs = table.attrs
    alone = ranking.originals(epochs)

    assert ranking.best(both)["trial"] == ranking.best(table)["trial"]
    assert ranking.history(both).equals(ranking.history(table))
    assert ranking.baselines(both).empty and len(ranking.originals(both)) == 60
    assert importance.importance(both).equals(importance.importance(table))
    mine, theirs = (effects.effects(effects.comparable(t, e)[0]) for t, e in ((both, epochs), (table, alone)))
    assert mine == theirs
    assert advice.advice(both, epochs) == advice.advice(table, alone)
