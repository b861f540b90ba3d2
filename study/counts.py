"""Counts of a split's images as a Parquet table: one row an image and class."""

import io

import pandas as pd
import torch

from seg.metrics import Counts

HARD = ("tp", "fp", "fn", "tn")
SOFT = ("soft_intersection", "soft_prediction", "soft_target")


def to_table(ids: list[str], counts: Counts) -> pd.DataFrame:
    """Columns id, class, tp, fp, fn, tn (int64) and the soft sums (float64)."""
    images, classes, _ = counts.hard.shape
    table = pd.DataFrame({"id": [i for i in ids for _ in range(classes)], "class": list(range(classes)) * images})
    table[list(HARD)] = counts.hard.reshape(-1, 4).numpy()
    table[list(SOFT)] = counts.soft.reshape(-1, 3).numpy()
    return table


def from_table(table: pd.DataFrame) -> tuple[list[str], Counts]:
    """Inverse of to_table."""
    classes = int(table["class"].max()) + 1
    ids = table["id"].tolist()[::classes]
    hard = torch.from_numpy(table[list(HARD)].to_numpy().copy()).view(len(ids), classes, 4)
    soft = torch.from_numpy(table[list(SOFT)].to_numpy().copy()).view(len(ids), classes, 3)
    return ids, Counts(hard, soft)


def to_parquet(table: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()


def from_parquet(content: bytes) -> pd.DataFrame:
    return pd.read_parquet(io.BytesIO(content))
