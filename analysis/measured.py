"""One score of a trial by its column: from its record, else from the counts that it kept."""

from analysis import load, rosetta
from study.records import Record

THRESHOLDED = {"soft_iou": "iou", "soft_dice": "dice"}
"""The same thing measured on masks, not on probabilities."""


def measured(opened: load.Study, record: Record | None, column: str) -> float | None:
    """None where the trial has no such score. `train_` and `val_` are those of its best epoch."""
    if record is None:
        return None
    if not column.startswith("test_"):
        return record.best.get(column)
    if record.test is None:
        return None
    name = column.removeprefix("test_")
    return record.test[name] if name in record.test else _from_counts(opened, record.trial, name)


def _from_counts(opened: load.Study, trial: int, name: str) -> float | None:
    counts = load.counts(opened, trial, "test")
    if counts is None:
        return None
    score = name.removeprefix("native_")
    found = rosetta.by_size(counts)["train" if name == score else "native"]
    values = found.set_index("name")["value"]
    return float(values[score]) if score in values else None


def properly(column: str) -> str:
    """The column of the same test score on masks at their own size: images there mean per image for two classes, one
    pooled confusion matrix for more. Empty where `column` is of another split, or that already."""
    if not column.startswith("test_") or column.startswith("test_native_"):
        return ""
    name = column.removeprefix("test_")
    return f"test_native_{THRESHOLDED.get(name, name)}"
