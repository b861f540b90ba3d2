"""Advice on the search space: each finding is said where it is planted, and nothing where there is nothing to say."""

import numpy as np
import pandas as pd
import pytest
from generated import trials

from analysis import load
from analysis.hyperparameters.advice import Advice, advice

NONE = pd.DataFrame(columns=["trial", "epoch", "train_loss", "val_loss", "val_iou", "decoder_lr"])


def about(found: list[Advice]) -> dict[str, str]:
    return {one.about: one.sentence for one in found}


def said(table: pd.DataFrame, epochs: pd.DataFrame = NONE) -> dict[str, str]:
    return about(advice(table, epochs))


def test_an_optimum_at_a_bound_is_told_which_bound_to_move():
    """The score rises with the rate, to the end of its range."""
    found = said(trials(1, 120, decoder_lr=lambda rate: 0.3 * np.log10(rate)))

    assert set(found) == {"decoder_lr"}
    assert found["decoder_lr"] == (
        "decoder_lr: the 3 best trials lie at the upper bound, 0.1. Try a higher `search.decoder_lr.high`, 1 say."
    )


def test_a_good_space_is_left_alone():
    """60 spaces with their optimum inside, of 80 trials: one in ten may be advised to change."""
    peak = {"decoder_lr": lambda rate: -0.05 * (np.log10(rate) + 2.5) ** 2}

    assert sum(bool(said(trials(seed, 80, **peak))) for seed in range(60)) <= 12


def test_what_failed_trials_share_is_named():
    table = trials(2)
    deep = table["model"] == "deep"
    table.loc[deep, "state"] = "FAILED"
    table.loc[deep, "val_iou"] = np.nan

    found = said(table)
    assert found["model"].startswith(
        f"{deep.sum()} of 60 searched trials are FAILED, {deep.sum()} of them with model deep."
    )


def test_trials_that_do_not_fit_are_told_what_fits():
    table = trials(2)
    table.loc[::5, ["state", "val_iou"]] = ["INFEASIBLE", np.nan]

    assert said(table)["trials"] == (
        "12 of 60 searched trials are INFEASIBLE. Try smaller `search.batch_size`, `image_size` or models fit."
    )


def test_what_was_hardly_tried_is_said():
    table = trials(3)
    table.loc[table["model"] == "deep", "model"] = "skip"
    table.loc[[4], "model"] = "deep"

    assert "only few tried deep in 1: nothing can be said of it" in said(table)["model"]


def test_a_gap_in_a_range_is_said():
    table = trials(4)
    table["decoder_lr"] = 10 ** np.random.default_rng(0).uniform(-4, -2.5, 60)

    assert "no trial lies between 3.1e-3 and 0.1, 50% of the range" in said(table)["decoder_lr"]


def test_repeated_configurations_are_counted():
    table = trials(5)
    columns = [name for name in table if name not in ("trial", "val_iou", "finished")]
    table.loc[[10, 20], columns] = table.loc[[3, 3], columns].to_numpy()

    assert "2 trials (10, 20) repeated an earlier configuration" in said(table)["trials"]


def test_time_after_the_best_trial_is_said_to_be_wasted():
    table = trials(6, 80)
    table.loc[2, "val_iou"] = 0.9

    assert said(table)["trials"].startswith("The last 77 trials, 96% of the time, found nothing better.")


def test_trials_that_all_ran_to_their_end_could_have_been_stopped():
    table = trials(7).assign(epochs=20)

    assert "The worse half of the trials took 50% of the training time" in said(table)["early_stopping"]


def curve(val_loss: list[float]) -> pd.DataFrame:
    count = len(val_loss)
    losses = {"train_loss": np.linspace(1, 0.1, count), "val_loss": val_loss, "val_iou": np.linspace(0.5, 0.6, count)}
    return pd.DataFrame({"trial": 0, "epoch": range(1, count + 1), **losses})


def test_the_best_trial_is_told_where_it_overfits():
    table = trials(8, 4).assign(val_iou=[0.9, 0.5, 0.5, 0.5])

    found = said(table, curve([1.0, 0.6, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]))
    assert "trial 0, the best, overfits".lower() in found["epochs"].lower()
    assert "from epoch 3 of 8 on" in found["epochs"] and "`epochs: 5`" in found["epochs"]
    assert "epochs" not in said(table, curve([1.0, 0.8, 0.6, 0.5, 0.4, 0.4, 0.4, 0.4]))


def test_trials_that_still_learned_are_told_to_go_on():
    table = trials(8, 4).assign(val_iou=[0.9, 0.8, 0.7, 0.5], epochs=8, best_epoch=[8, 8, 8, 2])

    assert said(table, curve([1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]))["epochs"].endswith("Try `epochs: 16`.")


def test_few_trials_for_many_choices_are_said_to_be_few():
    assert "12 trials are few for 7 choices searched at once. Try 70 `trials`" in said(trials(9, 12))["trials"]


@pytest.mark.parametrize("state", ["RUNNING", "FAILED"])
def test_studies_without_a_score_have_no_advice_on_ranges(begun, state):
    assert advice(load.trials(begun), load.epochs(begun)) == []
    table = trials(0, 12).assign(state=state, val_iou=np.nan)
    assert set(said(table)) <= {"trials", "model"}


def test_no_bound_is_advised_that_a_spec_may_not_have():
    """The three best do not oversample, which is as little as can be."""
    table = trials(1, 60)
    table["oversample"] = np.random.default_rng(0).uniform(0, 1, 60)
    table["val_iou"] = -table["oversample"]
    table.attrs["study"]["spec"]["search"] = table.attrs["study"]["spec"]["search"] | {
        "oversample": {"low": 0.0, "high": 1.0}
    }

    assert "oversample" not in said(table)
    table["val_iou"] = table["oversample"]
    assert "oversample" not in said(table)


def test_a_curve_without_losses_is_passed_over():
    table = trials(8, 4).assign(val_iou=[0.9, 0.5, 0.5, 0.5])

    assert "epochs" not in said(table, curve([float("nan")] * 8))


def test_schedules_that_begin_slowly_are_not_to_be_judged_early():
    """Of 30 trials with one_cycle three were stopped as its rate rose, one as it fell; so were others, whose falls."""
    table = trials(3)
    table["schedule"] = np.where(table.index % 2 == 0, "one_cycle", "cosine")
    table["state"], table["epochs"] = "COMPLETE", 20
    table.loc[:7, ["state", "epochs"]] = ["PRUNED", 2]
    rates = {trial: (0.1, 0.4) if trial in (0, 2, 4) else (1.0, 0.9) for trial in range(8)}
    rows = [
        {"trial": trial, "epoch": epoch, "decoder_lr": rate, "train_loss": 1.0, "val_loss": 1.0, "val_iou": 0.5}
        for trial, two in rates.items()
        for epoch, rate in enumerate(two, 1)
    ]

    assert said(table, pd.DataFrame(rows))["schedule"] == (
        "schedule: 3 of 30 trials with one_cycle were stopped while their rates still rose, judged beside others whose "
        "do not. Try `early_stopping.min_epochs: 3` or more, or one `search.schedule`."
    )
    assert "schedule" not in said(table.assign(schedule="one_cycle"), pd.DataFrame(rows)), "all alike"
