"""The columns of a study's tables: their names, order, and types."""

from collections.abc import Collection, Iterable
from typing import Any

import pandas as pd

from seg.options import HYPERPARAMETERS

IDENTITY = ("trial", "id", "state", "reason", "source", "model", "loss")
FIRST = ("encoder_freeze", "encoder_lr", "decoder_lr", "loss_*", "oversample", "batch_size")
"""The hyperparameters that every table has, besides model and loss; `loss_*` stands for the losses' parameters."""
OTHERS = tuple(name for name in HYPERPARAMETERS if name not in (*FIRST, "precision"))
"""The hyperparameters that a table has if its trials do. `precision` is the one that was used: see LAST."""
SCORES = ("val_loss", "val_iou", "val_dice", "val_pixel_accuracy")
COSTS = ("params_trainable", "params_frozen", "train_seconds", "gpu_seconds", "images_per_second", "device")
LAST = ("precision", "epochs_planned", "dataset", "image_size", "started", "finished")
"""The last of the documented columns; all other scores and costs follow them."""
EPOCH = ("trial", "epoch", "train_loss", "train_iou", *SCORES, "seconds", "encoder_lr", "decoder_lr")
"""The columns of `python -m analysis.table --epochs`."""

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
"""Fields of an experiment for which the trial table has columns apart from the hyperparameters."""


def trial_columns(rows: list[dict[str, Any]]) -> list[str]:
    present = {name for row in rows for name in row}
    # `keep` is newer than the documented order, which stays: it comes after it.
    searched = [name for name in hyperparameters(present | set(FIRST)) if name != "keep"]
    scored = _names(rows, "test_")
    fixed = [*IDENTITY, *searched, "seed", "epochs", *SCORES, "best_epoch", *COSTS, *scored, *LAST]
    return with_rest(fixed, rows)


def hyperparameters(present: Collection[str]) -> list[str]:
    """Return those columns of `present` that are hyperparameters, besides model and loss, in the order of the table."""
    losses = sorted(name for name in present if name.startswith("loss_") and name != "loss_*")
    return [
        name for known in (*FIRST, *OTHERS) for name in (losses if known == "loss_*" else [known]) if name in present
    ]


def _names(rows: list[dict[str, Any]], prefix: str) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row if name.startswith(prefix)))


def with_rest(first: Iterable[str], rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys([*first, *(name for row in rows for name in row)]))


def frame(rows: list[dict[str, Any]], columns: list[str], info: dict[str, Any]) -> pd.DataFrame:
    table = pd.DataFrame({name: _column(name, [row.get(name) for row in rows]) for name in columns})
    table.attrs["study"] = info
    return table


def _column(name: str, values: list[Any]) -> pd.Series:
    """Return a typed column; whole numbers and flags stay so if values are missing.

    Pandas alone would make them floats and objects.
    """
    kinds = {type(value) for value in values if value is not None}
    if name in TEXTS or str in kinds:
        return pd.Series(["" if value is None else str(value) for value in values], dtype="str")
    for kind, dtype in ((bool, "boolean"), (int, "Int64")):
        if kinds == {kind}:
            return pd.Series(values, dtype=dtype)
    return pd.Series(values, dtype="float64")
