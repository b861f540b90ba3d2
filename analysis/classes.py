"""The numbers behind the figures of classes: which are rare, which are found, what they are taken for."""

import pandas as pd

from analysis import compare
from analysis.measures import class_names


def named(table: pd.DataFrame, classes: pd.Series) -> pd.Series:
    """The name of each class index; the index itself where the table remembers no study."""
    names = class_names(table)
    return classes.map(lambda index: names[index] if index < len(names) else f"class {index}")


def taken_for(confusion: pd.DataFrame) -> pd.DataFrame:
    """Columns truth, prediction (class names), pixels, share: of the pixels of a true class, those taken for another.

    From `analysis.load.confusion`; the share is missing for a class that is in no image."""
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
    """IoU of each class (columns, by name) in each of the trials that compare.contenders names (rows).

    `attrs["split"]` says where. No columns for a task of two classes: its IoU is of the one that is no background."""
    scored, split = compare.contenders(trials)
    found = _of_classes(scored, split)
    found.attrs = {"split": split}
    return found


def worst(trials: pd.DataFrame, trial: int | None = None) -> tuple[str, float] | None:
    """The class with the lowest validation IoU in a trial, by default the best, and that; None for a task of two
    classes."""
    leader = compare.best(trials)
    if trial is None and leader is None:
        return None
    trial = leader["trial"] if trial is None and leader is not None else trial
    found = _of_classes(trials[trials["trial"] == trial], "val").iloc[0].dropna()
    return None if found.empty else (str(found.idxmin()), float(found.min()))


def _of_classes(trials: pd.DataFrame, split: str) -> pd.DataFrame:
    """The columns `<split>_iou_class<index>`, in the order of their indices, under the names of the classes."""
    prefix = f"{split}_iou_class"
    indices = sorted(int(str(name).removeprefix(prefix)) for name in trials if str(name).startswith(prefix))
    found = trials[[f"{prefix}{index}" for index in indices]].astype(float)
    return found.set_axis(named(trials, pd.Series(indices, dtype=int)).tolist(), axis=1)


def in_image(counts: pd.DataFrame, image: str, names: list[str]) -> str:
    """How much of an image its classes cover, in truth and as predicted, background left out: `border 15 % of the
    image, found 0 %`."""
    rows = counts[(counts["id"] == image) & (counts["class"] > 0)]
    pixels = rows["tp"] + rows["fp"] + rows["fn"] + rows["tn"]
    truth, found = (rows["tp"] + rows["fn"]) / pixels, (rows["tp"] + rows["fp"]) / pixels
    parts = [
        f"{names[index]} {true:.1%} of the image, predicted {predicted:.1%}"
        for index, true, predicted in zip(rows["class"], truth, found, strict=True)
        if true or predicted
    ]
    return "; ".join(parts)
