"""Columns of a study's tables: which, in which order, of which type."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

IDENTITY = ("trial", "id", "state", "reason", "source", "model", "loss")
HYPERPARAMETERS = ("encoder_freeze", "encoder_lr", "decoder_lr", "loss_*", "oversample", "batch_size")
SCORES = ("val_loss", "val_iou", "val_dice", "val_pixel_accuracy")
COSTS = ("params_trainable", "params_frozen", "train_seconds", "gpu_seconds", "images_per_second", "device")
LAST = ("precision", "epochs_planned", "dataset", "image_size", "started", "finished")
"""After what is promised; every other score and cost follows."""
EPOCH = ("trial", "epoch", "train_loss", "train_iou", *SCORES, "seconds", "encoder_lr", "decoder_lr")
"""Columns of `python -m analysis.table --epochs`."""

TEXTS = frozenset(
    {
        "id",
        "state",
        "reason",
        "source",
        "model",
        "loss",
        "device",
        "precision",
        "lane",
        "started",
        "finished",
        "dataset",
    }
)
NO_HYPERPARAMETERS = frozenset({"dataset", "image_size", "model", "loss", "loss_parameters", "epochs", "seed"})
"""Fields of an experiment that have a place of their own."""


def trial_columns(rows: list[dict[str, Any]]) -> list[str]:
    searched = _hyperparameters(rows)
    scored = _names(rows, "test_")
    fixed = [*IDENTITY, *searched, "seed", "epochs", *SCORES, "best_epoch", *COSTS, *scored, *LAST]
    return with_rest(fixed, rows)


def _hyperparameters(rows: list[dict[str, Any]]) -> list[str]:
    """The named ones in their order, a loss's parameters among them, then what else an experiment holds."""
    known = [name for name in HYPERPARAMETERS if name != "loss_*"]
    place = HYPERPARAMETERS.index("loss_*")
    others = ["optimizer", "weight_decay", "schedule", "augment", "normalize", "encoder_weights"]
    others += ["encoder_frozen_epochs"]
    present = {name for row in rows for name in row}
    return known[:place] + sorted(_names(rows, "loss_")) + known[place:] + [name for name in others if name in present]


def _names(rows: list[dict[str, Any]], prefix: str) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row if name.startswith(prefix)))


def with_rest(first: Iterable[str], rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys([*first, *(name for row in rows for name in row)]))


def frame(rows: list[dict[str, Any]], columns: list[str], info: dict[str, Any]) -> pd.DataFrame:
    table = pd.DataFrame({name: _column(name, [row.get(name) for row in rows]) for name in columns})
    table.attrs["study"] = info
    return table


def _column(name: str, values: list[Any]) -> pd.Series:
    """Whole numbers and flags stay so where some are missing: pandas would make them floats and objects."""
    kinds = {type(value) for value in values if value is not None}
    if name in TEXTS or str in kinds:
        return pd.Series(["" if value is None else str(value) for value in values], dtype="str")
    for kind, dtype in ((bool, "boolean"), (int, "Int64")):
        if kinds == {kind}:
            return pd.Series(values, dtype=dtype)
    return pd.Series(values, dtype="float64")
