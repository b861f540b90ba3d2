"""The display name of each score, and exactly how it is measured."""

import re
from collections.abc import Callable, Sequence
from functools import partial

import pandas as pd

_BINARY = "of each image at threshold 0.5, then the mean; empty against empty counts as 1"
_MULTI = "With more than two classes: the mean over classes of one pooled confusion matrix, background included."

_NAMES = {
    "iou": "IoU",
    "dice": "Dice",
    "loss": "loss",
    "pixel_accuracy": "pixel accuracy",
    "iou_pooled": "IoU, pooled",
    "dice_pooled": "Dice, pooled",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "soft_iou": "soft IoU",
    "soft_dice": "soft Dice",
    "class_accuracy": "class accuracy",
    "accuracy": "accuracy",
    "iou_foreground": "IoU, foreground",
    "dice_foreground": "Dice, foreground",
    "iou_lowest": "lowest IoU of an image",
}
_HOW = {
    "iou": f"TP / (TP + FP + FN) {_BINARY}. {_MULTI}",
    "dice": f"2 TP / (2 TP + FP + FN) {_BINARY}. {_MULTI}",
    "loss": "The trial's own training loss; comparable only between trials with the same loss.",
    "pixel_accuracy": "Share of all pixels with the right class.",
    "iou_pooled": "TP / (TP + FP + FN) of the counts summed over all images.",
    "sensitivity": "TP / (TP + FN) of each image, then the mean.",
    "specificity": "TN / (TN + FP) of each image, then the mean.",
    "soft_iou": "Of probabilities, not thresholded: Σpt / (Σp + Σt − Σpt) of each image, then the mean.",
    "soft_dice": "Of probabilities, not thresholded: 2 Σpt / (Σp + Σt) of each image, then the mean.",
    "class_accuracy": "TP / (TP + FN) of each class, then the mean.",
    "iou_foreground": "IoU without the background class.",
    "dice_foreground": "Dice without the background class.",
    "iou_lowest": "The IoU of the image with the lowest one.",
}
_WHERE = {
    "val_": ("val", "Validation images, at training size, at the trial's best epoch."),
    "test_native_": ("test native", "Sealed test images, at the masks' own size; finalists only."),
    "test_": ("test", "Sealed test images, at training size; finalists only."),
    "train_": ("train", "Training images, augmented, while the weights were changing."),
}
_OF_CLASS = re.compile(r"(?P<score>\w+)_class(?P<index>\d+)")


def _split(name: str) -> tuple[str, str, str]:
    """Return a column's displayed prefix, where it is measured, and its bare score."""
    for prefix in sorted(_WHERE, key=len, reverse=True):
        if name.startswith(prefix):
            return _WHERE[prefix][0], _WHERE[prefix][1], name.removeprefix(prefix)
    return "", "", name


def label(name: str, classes: Sequence[str] = ()) -> str:
    """Return the display name of a column; a column that is not a score keeps its name.

    `val_iou` becomes `val IoU`. `test_iou_class2` becomes `test IoU, car` if `classes` says so.
    """
    prefix, _, score = _split(name)
    return f"{prefix} {_score_name(score, classes)}".strip() if prefix or _is_score(score) else name


def labels(table: pd.DataFrame) -> Callable[[str], str]:
    """Return `label` with the class names of the table's study."""
    return partial(label, classes=class_names(table))


def class_names(table: pd.DataFrame) -> list[str]:
    """Return the class names of the table's study; empty if the table has no study, as when read from CSV."""
    return list(table.attrs.get("study", {}).get("dataset", {}).get("class_names", []))


def _is_score(score: str) -> bool:
    return score in _NAMES or bool(_OF_CLASS.fullmatch(score))


def _score_name(score: str, classes: Sequence[str]) -> str:
    found = _OF_CLASS.fullmatch(score)
    if not found:
        return _NAMES.get(score, score.replace("_", " "))
    index = int(found["index"])
    return f"{_score_name(found['score'], ())}, {classes[index] if index < len(classes) else f'class {index}'}"


def explain(name: str) -> str:
    """Return how the score of a column is measured, and on what; empty if the column is not a score."""
    _, where, score = _split(name)
    found = _OF_CLASS.fullmatch(score)
    how = "Of the one class, from the counts summed over all images." if found else _HOW.get(score, "")
    return " ".join(part for part in (how, where) if part) if where or how else ""
