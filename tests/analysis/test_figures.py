from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import compare, figures, load


def test_best_so_far_never_gets_worse_and_counts_ended_trials_only(study: Path) -> None:
    points = compare.best_so_far(load.trials(study))
    assert points["trial"].tolist() == [0, 1, 2, 3, 4, 5, 6, 8, 9]
    assert points["best"].is_monotonic_increasing
    assert points["best"].iloc[-1] == points["score"].max()


def test_best_so_far_of_a_loss_falls(study: Path) -> None:
    assert compare.best_so_far(load.trials(study), "val_loss", "min")["best"].is_monotonic_decreasing


def test_leaderboard_puts_the_best_first_and_the_unscored_last(study: Path) -> None:
    order = compare.leaderboard(load.trials(study))["trial"].tolist()
    assert order[-2:] == [7, 10]
    scored = compare.leaderboard(load.trials(study))["val_iou"].dropna()
    assert scored.is_monotonic_decreasing


def test_importance_finds_the_choice_that_matters() -> None:
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({name: [None] * 60 for name in compare.hyperparameters(pd.DataFrame())})
    rows["decoder_lr"] = 10 ** rng.uniform(-4, -2, 60)
    rows["model"] = rng.choice(["a", "b"], 60)
    rows["source"], rows["state"] = "search", "COMPLETE"
    rows["val_iou"] = np.log10(rows["decoder_lr"]) + 0.01 * rng.normal(size=60)
    found = compare.importance(rows)
    assert found.warning == ""
    assert found.shares["hyperparameter"].iloc[0] == "decoder_lr"
    assert found.shares["importance"].sum() == pytest.approx(1)


def test_importance_of_few_trials_warns(study: Path) -> None:
    assert "hint" in compare.importance(load.trials(study)).warning
    assert "Too few" in compare.importance(load.trials(study).head(2)).warning


def test_history_marks_the_published_baseline(study: Path) -> None:
    traces = {trace.name: trace for trace in figures.history(load.trials(study)).data}
    assert list(traces["published baseline"].x) == [1]
    assert traces["published baseline"].marker.symbol == "star"
    assert len(traces["stopped early"].x) == 2


def test_learning_curves_name_the_best_trial_and_the_baselines(study: Path) -> None:
    figure = figures.learning_curves(load.epochs(study))
    assert len(figure.data) == 10
    assert figure.data[-1].name == "best: trial 11" or figure.data[-1].name == "best: trial 9"
    assert [trace.name for trace in figure.data if trace.showlegend] == ["R1 model 1 <frozen>", figure.data[-1].name]


def test_parallel_coordinates_give_every_line_a_place_on_every_axis(study: Path) -> None:
    axes = figures.parallel_coordinates(load.trials(study)).data[0].dimensions
    labels = [axis.label for axis in axes]
    assert labels[-1] == "val_iou" and {"model", "encoder_lr", "decoder_lr"} <= set(labels)
    assert not any(np.isnan(np.asarray(axis.values, float)).any() for axis in axes)
    rate = axes[labels.index("encoder_lr")]
    assert rate.ticktext[0] == "none"


def test_figures_of_a_single_running_trial_do_not_fail(study: Path) -> None:
    rows = load.trials(study).tail(1)
    for figure in (figures.history, figures.parallel_coordinates, figures.importance, figures.radar):
        figure(rows)
