"""Numbers behind the figures: tables in, tables out, nothing drawn."""

import math
from dataclasses import dataclass

import pandas as pd

from analysis.load import HYPERPARAMETERS, MORE_HYPERPARAMETERS
from study.importance import ped_anova

SCORED = ("COMPLETE", "PRUNED")
ENOUGH_TRIALS = 20
"""Below this many scored trials an importance is a guess."""


def is_baseline(table: pd.DataFrame) -> pd.Series:
    return table["source"] != "search"


def leaderboard(trials: pd.DataFrame, metric: str = "val_iou", mode: str = "max") -> pd.DataFrame:
    """Scored trials, best first, then those without a score, by number."""
    return trials.sort_values([metric, "trial"], ascending=[mode == "min", True], na_position="last")


def best_so_far(trials: pd.DataFrame, metric: str = "val_iou", mode: str = "max") -> pd.DataFrame:
    """Ended, scored trials in the order they ended: `trial`, `order` (from 1), `score`, `best` (running), `hours` of
    training until then, `source`, `state`, `model`, `loss`."""
    ended = trials[trials["state"].isin(SCORED) & trials[metric].notna()].sort_values(["finished", "trial"])
    running = ended[metric].cummax() if mode == "max" else ended[metric].cummin()
    return pd.DataFrame(
        {
            "trial": ended["trial"],
            "order": range(1, len(ended) + 1),
            "score": ended[metric],
            "best": running,
            "hours": ended["train_seconds"].cumsum() / 3600,
            **{name: ended[name] for name in ("source", "state", "model", "loss")},
        }
    ).reset_index(drop=True)


def hyperparameters(trials: pd.DataFrame) -> list[str]:
    """Columns that are choices, in the table's order."""
    losses = [str(name) for name in trials if str(name).startswith("loss_")]
    return ["model", "loss", *HYPERPARAMETERS, *losses, *MORE_HYPERPARAMETERS]


def varied(trials: pd.DataFrame) -> list[str]:
    """Choices that differ between these trials; where one is absent it does not count."""
    return [name for name in hyperparameters(trials) if trials[name].nunique(dropna=True) > 1]


@dataclass(frozen=True)
class Importance:
    shares: pd.DataFrame
    """`hyperparameter`, `importance` (they add up to 1), most important first."""
    warning: str
    """What keeps it from being trusted; empty where nothing does."""


def importance(trials: pd.DataFrame, metric: str = "val_iou", mode: str = "max") -> Importance:
    """How much of what makes a trial good each choice explains: PED-ANOVA (Watanabe et al. 2023, arXiv:2304.10255).

    Searched trials that have a score, pruned ones included at their best epoch.
    """
    rows = trials[(trials["source"] == "search") & trials["state"].isin(SCORED) & trials[metric].notna()]
    names = varied(rows)
    if len(rows) < 4 or not names or rows[metric].nunique() < 2:
        return Importance(pd.DataFrame({"hyperparameter": [], "importance": []}), "Too few searched trials.")
    choices = [{name: row[name] for name in names if pd.notna(row[name])} for _, row in rows.iterrows()]
    found = ped_anova(choices, rows[metric].tolist(), maximise=mode == "max")
    shares = pd.DataFrame({"hyperparameter": list(found), "importance": list(found.values())})
    few = f"Only {len(rows)} searched trials: take these shares as a hint." if len(rows) < ENOUGH_TRIALS else ""
    return Importance(shares.sort_values("importance", ascending=False, ignore_index=True), few)


def is_number(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def is_logarithmic(values: pd.Series) -> bool:
    """Positive numbers over more than a decade are read on a logarithmic scale."""
    present = values.dropna()
    return is_number(present) and present.min() > 0 and math.log10(present.max() / present.min()) > 1
