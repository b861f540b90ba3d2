"""Parquet tables of a split's counts, one row per image and class, and of its pooled confusion matrix."""

import io

import pandas as pd
import torch

from seg.metrics import Counts

HARD = ("tp", "fp", "fn", "tn")
SOFT = ("soft_intersection", "soft_prediction", "soft_target")


def to_table(ids: list[str], counts: Counts) -> pd.DataFrame:
    """Return a table with the columns id, class, tp, fp, fn, tn (int64) and the soft sums (float64)."""
    images, classes, _ = counts.hard.shape
    table = pd.DataFrame({"id": [i for i in ids for _ in range(classes)], "class": list(range(classes)) * images})
    table[list(HARD)] = counts.hard.reshape(-1, 4).numpy()
    table[list(SOFT)] = counts.soft.reshape(-1, 3).numpy()
    return table


def from_table(table: pd.DataFrame) -> tuple[list[str], Counts]:
    """Return the ids and counts of a table: the inverse of to_table."""
    classes = int(table["class"].max()) + 1
    ids = table["id"].tolist()[::classes]
    hard = torch.from_numpy(table[list(HARD)].to_numpy().copy()).view(len(ids), classes, 4)
    soft = torch.from_numpy(table[list(SOFT)].to_numpy().copy()).view(len(ids), classes, 3)
    return ids, Counts(hard, soft)


def confusion_table(counts: Counts) -> pd.DataFrame:
    """Return the confusion matrix as columns truth, prediction (class indices) and pixels, all int64.

    The counts must have a confusion matrix.
    """
    confusion = counts.confusion
    assert confusion is not None
    classes = len(confusion)
    truth = [row for row in range(classes) for _ in range(classes)]
    prediction = list(range(classes)) * classes
    return pd.DataFrame({"truth": truth, "prediction": prediction, "pixels": confusion.flatten().numpy()})


def to_parquet(table: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()


def from_parquet(content: bytes) -> pd.DataFrame:
    return pd.read_parquet(io.BytesIO(content))
