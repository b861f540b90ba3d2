"""The numbers behind the figures of classes: how well each is found, and what it is mistaken for."""

import pandas as pd

from analysis import ranking
from analysis.scores.labels import class_names


def named(table: pd.DataFrame, classes: pd.Series) -> pd.Series:
    """Return the name of each class index, or `class <index>` if the table has no study."""
    names = class_names(table)
    return classes.map(lambda index: names[index] if index < len(names) else f"class {index}")


def taken_for(confusion: pd.DataFrame) -> pd.DataFrame:
    """Return the share of each true class's pixels that were predicted as each class.

    Columns: truth and prediction (class names), pixels, share. `confusion` is the table of `analysis.load.confusion`.
    The share is missing for a class that is in no image.
    """
    rows = confusion[confusion["size"] == "train"] if "size" in confusion else confusion
    of_class = rows.groupby("truth")["pixels"].transform("sum")
    return pd.DataFrame(
        {
            "truth": named(confusion, rows["truth"]),
            "prediction": named(confusion, rows["prediction"]),
            "pixels": rows["pixels"],
            "share": (rows["pixels"] / of_class).where(of_class > 0),
        }
    ).reset_index(drop=True)


def ious(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the IoU of each class (columns, by name) in each trial of `ranking.contenders` (rows).

    `attrs["split"]` is the split. A task of two classes has no columns: its IoU is that of the class that is not
    background.
    """
    scored, split = ranking.contenders(trials)
    found = _of_classes(scored, split)
    found.attrs = {"split": split}
    return found


def worst(trials: pd.DataFrame, trial: int | None = None) -> tuple[str, float] | None:
    """Return the class with the lowest validation IoU in a trial, and that IoU.

    The default is the best trial. None for a task of two classes, or if there is no best trial.
    """
    leader = ranking.best(trials)
    if trial is None and leader is None:
        return None
    trial = leader["trial"] if trial is None and leader is not None else trial
    found = _of_classes(trials[trials["trial"] == trial], "val").iloc[0].dropna()
    return None if found.empty else (str(found.idxmin()), float(found.min()))


def _of_classes(trials: pd.DataFrame, split: str) -> pd.DataFrame:
    """Return the columns `<split>_iou_class<index>` in the order of their indices, named after the classes."""
    prefix = f"{split}_iou_class"
    indices = sorted(int(str(name).removeprefix(prefix)) for name in trials if str(name).startswith(prefix))
    found = trials[[f"{prefix}{index}" for index in indices]].astype(float)
    return found.set_axis(named(trials, pd.Series(indices, dtype=int)).tolist(), axis=1)


def in_image(counts: pd.DataFrame, image: str, names: list[str]) -> str:
    """Return how much of an image each class except background covers, in truth and as predicted.

    Example: `border 15.0% of the image, predicted 0.0%`.
    """
    rows = counts[(counts["id"] == image) & (counts["class"] > 0)]
    pixels = rows["tp"] + rows["fp"] + rows["fn"] + rows["tn"]
    truth, found = (rows["tp"] + rows["fn"]) / pixels, (rows["tp"] + rows["fp"]) / pixels
    parts = [
        f"{names[index]} {true:.1%} of the image, predicted {predicted:.1%}"
        for index, true, predicted in zip(rows["class"], truth, found, strict=True)
        if true or predicted
    ]
    return "; ".join(parts)
