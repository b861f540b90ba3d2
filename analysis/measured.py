"""One score of a trial by its column: from its record, else from the counts that it kept."""

from analysis import compare, load
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
    score = name.removeprefix("native_")
    if counts is None or score != "iou_lowest":
        return None
    size = "train" if name == score else "native"
    return float(compare.image_iou(counts[counts["size"] == size]).min())


def properly(column: str) -> str:
    """The column of the same test score on masks at their own size: images there mean per image for two classes, one
    pooled confusion matrix for more. Empty where `column` is of another split, or that already."""
    if not column.startswith("test_") or column.startswith("test_native_"):
        return ""
    name = column.removeprefix("test_")
    return f"test_native_{THRESHOLDED.get(name, name)}"
