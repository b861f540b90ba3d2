"""Shares of the variance: against Optuna's fANOVA, and against functions whose shares are known."""

import math
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from generated import trials as random_trials

from analysis.hyperparameters import fanova

MODELS = ["plain", "skip"]


def table(score: Any, count: int = 400, models: list[str] = MODELS, **search: dict[str, Any]) -> pd.DataFrame:
    """Random choices of `model` and of the ranges in `search`, and `score` of each row."""
    rng = np.random.default_rng(0)
    columns: dict[str, Any] = {"model": rng.choice(models, count)}
    for name, of in search.items():
        drawn = rng.random(count)
        log = of.get("log", False)
        ratio = of["high"] / of["low"] if log else 1.0
        columns[name] = of["low"] * ratio**drawn if log else of["low"] + drawn * (of["high"] - of["low"])
    found = pd.DataFrame({"trial": range(count), "loss": "bce", **columns})
    for name in ("encoder_freeze", "encoder_lr", "oversample", "batch_size"):
        found[name] = found.get(name, pd.Series(np.nan, index=found.index))
    found["val_iou"] = [score(row) for row in found.to_dict("records")]
    spec = {"objective": {"metric": "val_iou", "mode": "max"}, "search": {"model": models, **search}}
    found.attrs["study"] = {"spec": spec}
    return found


def shares(trials: pd.DataFrame) -> dict[str, float]:
    found = fanova.variance_shares(trials)
    return dict(zip(found["choice"], found["share"], strict=True))


def optunas(trials: pd.DataFrame) -> dict[str, float]:
    """Of the ranges."""
    search = trials.attrs["study"]["spec"]["search"]
    ranges = {name: of for name, of in search.items() if name != "model"}
    distributions: dict[str, Any] = {
        name: optuna.distributions.FloatDistribution(of["low"], of["high"]) for name, of in ranges.items()
    }
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize")
    for row in trials.to_dict("records"):
        params = {name: row[name] for name in distributions}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=row["val_iou"]))
    return {n: float(v) for n, v in optuna.importance.FanovaImportanceEvaluator(seed=0).evaluate(study).items()}


def test_shares_of_numbers_are_those_of_optuna() -> None:
    """On linear ranges, as it takes all of them. Of names it weighs combinations that there are none of."""

    def score(row: dict[str, Any]) -> float:
        noise = math.sin(1e4 * row["decoder_lr"])  # nothing that a forest could learn
        return row["decoder_lr"] ** 2 + row["oversample"] * row["encoder_lr"] + 0.02 * noise

    ranges = {
        name: {"low": 0.0, "high": high} for name, high in (("encoder_lr", 2), ("decoder_lr", 1), ("oversample", 1))
    }
    trials = table(score, models=["skip"], **ranges)
    theirs = optunas(trials)
    assert shares(trials) == pytest.approx(theirs, abs=0.01)
    assert min(theirs.values()) > 0.1


def test_shares_are_those_of_the_function_where_two_choices_meet() -> None:
    """d² + 0.3 [skip] e, d even on [0, 1], e on [0, 2]: by hand 4/45, 0.09/4, 0.0075 and 0.0075 for both together."""
    trials = table(
        lambda row: row["decoder_lr"] ** 2 + 0.3 * (row["model"] == "skip") * row["encoder_lr"],
        encoder_lr={"low": 0.0, "high": 2.0},
        decoder_lr={"low": 0.0, "high": 1.0},
    )
    total = 4 / 45 + 0.0225 + 0.0075 + 0.0075
    wanted = {"decoder_lr": 4 / 45 / total, "model": 0.0225 / total, "encoder_lr": 0.0075 / total}
    assert shares(trials) == pytest.approx(wanted, abs=0.02)


def test_shares_of_a_sum_are_the_variances_of_its_parts() -> None:
    """Of u + 0.5 [skip], u even on [0, 1]: 1/12 and 1/16; on a logarithm where the range says so."""
    trials = table(
        lambda row: math.log10(row["decoder_lr"]) / 3 + 0.5 * (row["model"] == "skip"),
        decoder_lr={"low": 1e-4, "high": 1e-1, "log": True},
    )
    found, total = shares(trials), 1 / 12 + 1 / 16
    assert found == pytest.approx({"decoder_lr": 1 / 12 / total, "model": 1 / 16 / total}, abs=0.02)


def test_each_of_three_names_weighs_a_third() -> None:
    """The variance between names that score 0, 0 and 1 is 2/9, however often each was tried."""
    trials = table(
        lambda row: float(row["model"] == "c") + row["decoder_lr"],
        models=["a", "b", "c"],
        decoder_lr={"low": 0.0, "high": 1.0},
    )
    often = pd.concat([trials, trials[trials["model"] == "a"], trials[trials["model"] == "a"]], ignore_index=True)
    often.attrs = trials.attrs
    for rows in (trials, often):
        assert shares(rows)["model"] == pytest.approx(2 / 9 / (2 / 9 + 1 / 12), abs=0.02)


def test_what_two_choices_do_together_is_in_neither_share() -> None:
    """The sign of one is the other's: each alone explains nothing."""
    trials = table(
        lambda row: (row["decoder_lr"] - 0.5) * (1 if row["model"] == "skip" else -1),
        decoder_lr={"low": 0.0, "high": 1.0},
    )
    assert sum(shares(trials).values()) < 0.05


def test_a_choice_that_some_trials_have_is_looked_at_in_those() -> None:
    trials = random_trials(1, 200, encoder_lr=lambda value: 0.2 * math.log10(value))
    found = fanova.variance_shares(trials).set_index("choice")
    assert found.at["encoder_lr", "share"] > 0.9
    assert found.at["encoder_lr", "trials"] == trials["encoder_lr"].notna().sum() < 200
    assert found.at["model", "trials"] == 200


def test_few_trials_say_little_and_fewer_nothing() -> None:
    assert fanova.warning(random_trials(0, 19)).startswith("Only 19 searched trials have a score")
    assert fanova.warning(random_trials(0, 20)) == ""
    assert fanova.variance_shares(random_trials(0, 9)).empty
    same = random_trials(0, 30).assign(val_iou=0.5)
    assert fanova.variance_shares(same).empty


def test_of_very_many_trials_a_sample_is_taken() -> None:
    trials = random_trials(2, 3 * fanova.MAX_TRIALS, decoder_lr=lambda value: math.log10(value))
    (first, *_) = fanova.variance_shares(trials).itertuples()
    assert (first.choice, first.trials) == ("decoder_lr", len(trials)) and first.share > 0.9
