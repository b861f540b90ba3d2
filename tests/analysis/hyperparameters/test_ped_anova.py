"""Importance of hyperparameters, held against Optuna's own evaluator."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from analysis import load
from analysis.hyperparameters import importance

SEARCH: dict[str, Any] = {
    "model": ["a", "b", "c"],
    "encoder_freeze": [False, True],
    "encoder_lr": {"low": 1e-5, "high": 1e-3, "log": True},
    "decoder_lr": {"low": 1e-4, "high": 1e-2, "log": True},
    "weight_decay": {"low": 0.0, "high": 1.0, "step": 0.25},
}
DISTRIBUTIONS: dict[str, BaseDistribution] = {
    "model": CategoricalDistribution(("a", "b", "c")),
    "encoder_freeze": CategoricalDistribution((False, True)),
    "encoder_lr": FloatDistribution(1e-5, 1e-3, log=True),
    "decoder_lr": FloatDistribution(1e-4, 1e-2, log=True),
    "weight_decay": FloatDistribution(0.0, 1.0, step=0.25),
}


def draw(rng: np.random.Generator) -> dict[str, Any]:
    chosen = {
        "model": str(rng.choice(["a", "b", "c"])),
        "encoder_freeze": bool(rng.random() < 0.4),
        "decoder_lr": float(10 ** rng.uniform(-4, -2)),
        "weight_decay": float(rng.integers(0, 5)) / 4,
    }
    return chosen if chosen["encoder_freeze"] else chosen | {"encoder_lr": float(10 ** rng.uniform(-5, -3))}


def value(chosen: dict[str, Any], rng: np.random.Generator) -> float:
    rate = 0.1 * np.log10(chosen["encoder_lr"]) + 0.5 if "encoder_lr" in chosen else 0.0
    bonus = 0.2 * (chosen["model"] == "a") - 0.2 * abs(np.log10(chosen["decoder_lr"]) + 2.5)
    return float(rate + bonus + 0.01 * rng.normal())


def both(trials: int, seed: int) -> tuple[pd.DataFrame, optuna.Study]:
    """The same trials as a table and as a study of Optuna."""
    rng = np.random.default_rng(seed)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study, rows = optuna.create_study(direction="maximize"), []
    for trial in range(trials):
        chosen = draw(rng)
        score = value(chosen, rng)
        held = {name: DISTRIBUTIONS[name] for name in chosen}
        study.add_trial(optuna.trial.create_trial(params=chosen, distributions=held, value=score))
        told = {"trial": trial, "source": "search", "state": "COMPLETE", "loss": "bce", "val_iou": score}
        rows.append(told | chosen)
    table = pd.DataFrame(rows)
    table.attrs["study"] = {"spec": {"search": SEARCH}}
    return table, study


@pytest.mark.parametrize(("trials", "top"), [(12, 5), (40, 5), (100, 10)])
def test_equals_optuna(trials: int, top: int) -> None:
    table, study = both(trials, seed=trials)
    found = importance.importance(table).set_index("parameter")["importance"].to_dict()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=top / trials)
        assert found == pytest.approx(optuna.importance.get_param_importances(study, evaluator=evaluator), rel=1e-9)


def test_finds_the_choice_that_matters_without_a_search_space() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"trial": range(60), "source": "search", "state": "COMPLETE", "loss": "bce"})
    table["model"] = rng.choice(["a", "b"], 60)
    table["decoder_lr"] = 10 ** rng.uniform(-4, -2, 60)
    table["val_iou"] = np.log10(table["decoder_lr"])
    found = importance.importance(table)
    assert found["parameter"].tolist() == ["decoder_lr", "model"]
    assert found["importance"].sum() == pytest.approx(1) and found["importance"][0] > 0.9


def test_ties_are_in_the_order_of_the_table() -> None:
    """Optuna's own order is that of a set, which changes from one process to the next."""
    table, _ = both(40, seed=1)
    for name in ("loss_c", "loss_a", "loss_b", "loss_d"):
        table[name] = [0.1, 0.2] + [np.nan] * 38
    found = importance.importance(table)["parameter"].tolist()
    assert found[-4:] == ["loss_a", "loss_b", "loss_c", "loss_d"]


def test_only_searched_trials_with_a_score_count(study: Path) -> None:
    found = importance.importance(load.trials(str(study))).set_index("parameter")
    assert found.loc["decoder_lr", "trials"] == 7
    assert found.loc["encoder_lr", "trials"] == 4
    assert set(found.index) == {"model", "loss", "encoder_freeze", "encoder_lr", "decoder_lr", "loss_dice_weight"}


def test_few_trials_are_said_to_be_few(study: Path) -> None:
    trials = load.trials(str(study))
    assert "a hint" in importance.warning(trials)
    assert importance.importance(trials.head(4)).empty and "at least" in importance.warning(trials.head(4))
    assert importance.warning(both(40, seed=0)[0]) == ""
