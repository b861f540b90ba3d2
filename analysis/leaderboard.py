"""The report's leaderboard: which columns, and each cell as text."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis import compare, theme
from analysis.measures import explain, labels

SHOWN = 15
"""Rows in sight; the rest unfolds."""
TESTS = ("test_iou", "test_dice", "test_native_iou")

HEADINGS = {
    "trial": "trial",
    "state": "state",
    "source": "source",
    "best_epoch": "best epoch",
    "train_seconds": "training",
    "params_total": "parameters",
    "latency_ms": "latency",
    "pareto": "Pareto set",
    "encoder_freeze": "frozen",
    "loss_dice_weight": "Dice weight",
    "loss_power": "weight power",
    "loss_alpha": "Tversky α",
    "loss_gamma": "focal γ",
    "batch_size": "batch",
}
UNITS = {
    "train_seconds": "{:.0f} s",
    "gpu_seconds": "{:.0f} s",
    "latency_ms": "{:.1f} ms",
    "params_total": "{:,}",
    "params_trainable": "{:,}",
}
HINTS = {
    "trial": "Number of the trial, from 0, in the order they began.",
    "state": "COMPLETE, PRUNED (stopped early at a rung), FAILED, INFEASIBLE (does not fit) or RUNNING.",
    "source": "search, or the name of a baseline: the recipe, a published configuration, or one of your own.",
    "best_epoch": "Epoch with the best objective, of the epochs that ran; scores and weights are of that epoch.",
    "train_seconds": "Seconds in all its epochs, validation included.",
    "params_total": "Parameters of the model, frozen ones included.",
    "latency_ms": "Milliseconds that the model takes for one image of the training size, where it was trained.",
    "pareto": "No other finished trial is as good in every objective of the study and better in one.",
    "model": "Architecture of the network.",
    "loss": "What training minimises.",
    "encoder_frozen_epochs": "For so many epochs the encoder is frozen, then fine-tuned.",
    "encoder_freeze": "The encoder gets no gradients and keeps its BatchNorm statistics.",
    "encoder_lr": "Learning rate of the encoder at the start; empty where it is frozen.",
    "decoder_lr": "Learning rate of the decoder at the start.",
    "loss_dice_weight": "Weight of the Dice loss beside binary cross-entropy.",
    "loss_power": "A class weighs its share of the training pixels to the minus this.",
    "loss_alpha": "Weight of missed pixels in the Tversky index; false ones weigh the rest to 1.",
    "loss_gamma": "The focal Tversky loss is (1 − Tversky index) to the power 1/γ.",
    "oversample": "Rare classes come up more often: 0 draws every image once an epoch.",
    "batch_size": "Images in one optimiser step.",
}


@dataclass(frozen=True)
class Heading:
    name: str
    text: str
    hint: str
    number: bool


@dataclass(frozen=True)
class Row:
    trial: int
    state: str
    baseline: bool
    leads: bool
    """The best by the objective."""
    chosen: bool
    """The study's choice, which may be another one."""
    shown: bool
    """Set off from the others: the choice, or the best as long as there is none."""
    colour: str
    glyph: str
    cells: list[str]


@dataclass(frozen=True)
class Board:
    headings: list[Heading]
    rows: list[Row]
    scores: list[str]
    """Columns among the headings that are scores."""

    @property
    def top(self) -> list[Row]:
        """The first rows, and every baseline and the choice below them."""
        return [row for place, row in enumerate(self.rows) if place < SHOWN or row.baseline or row.chosen]

    @property
    def hidden(self) -> bool:
        return len(self.top) < len(self.rows)


def leaderboard(trials: pd.DataFrame) -> Board:
    """Every trial but seed replicates, best first; those without a score last."""
    trials = compare.originals(trials)
    scores = _scores(trials)
    varied = compare.varied(trials)
    first = [name for name in ("model", "loss") if name in varied]
    rest = [name for name in varied if name not in first]
    other = [aim.metric for aim in compare.objectives(trials)[1:] if aim.metric not in scores]
    front = ["pareto"] if "pareto" in trials else []
    names = [*scores[:1], *other, *front, "source", *first, *scores[1:], "state", "best_epoch", *rest, "train_seconds"]
    names = list(dict.fromkeys(names))
    looks, leader = theme.looks(trials), compare.best(trials)
    best, choice = None if leader is None else int(leader["trial"]), compare.chosen(trials)
    rows = [
        Row(
            trial=int(row["trial"]),
            state=row["state"],
            baseline=row["source"] != compare.SEARCH,
            leads=row["trial"] == best,
            chosen=row["trial"] == choice,
            shown=row["trial"] == (best if choice is None else choice),
            colour=looks[int(row["trial"])].colour,
            glyph=looks[int(row["trial"])].glyph,
            cells=[_cell(row, name, scores) for name in names],
        )
        for row in compare.ranked(trials).to_dict("records")
    ]
    numeric = {*scores, *other, "best_epoch", "train_seconds"}
    said = labels(trials)
    headings = [_heading(name, said, name in numeric or pd.api.types.is_float_dtype(trials[name])) for name in names]
    return Board(headings, rows, scores)


def _scores(trials: pd.DataFrame) -> list[str]:
    aims = [aim.metric for aim in compare.objectives(trials) if aim.metric.startswith("val_")]
    wanted = [*aims, "val_iou", "val_dice", *TESTS]
    return [name for name in dict.fromkeys(wanted) if name in trials]


def _heading(name: str, said: Callable[[str], str], number: bool) -> Heading:
    text = HEADINGS.get(name) or said(name).replace("_", " ")
    return Heading(name, text, HINTS.get(name) or explain(name), number)


def _cell(row: Mapping[Any, Any], name: str, scores: list[str]) -> str:
    value = row[name]
    if pd.isna(value):
        return ""
    if name in scores:
        return f"{value:.4f}"
    if name == "best_epoch":
        return f"{value} of {row['epochs']}"
    unit = UNITS.get(name)
    return unit.format(value) if unit else compare.text(value)
