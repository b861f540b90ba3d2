"""Choose a study's best trial, and judge it against trivial predictions, the recipe, and published results.

The comparisons use the same images, with intervals over these images. Choice and verdict are made once, when the search
has ended, and kept in study.json. study.ls and the report show them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from seg import metrics
from seg.metrics import Counts
from study.ranking import leaders
from study.spec import Spec
from study.store import Store, counts
from study.store.records import RECIPE, Record

FEW_IMAGES = 30
"""The number of validation images below which a lead must be significant. Below it, the verdict has a warning."""
MIN_IMAGES = 6
"""The number of validation images below which no lead is significant.

Even if all images favour one trial, chance alone does the same in one of 2 ** (images - 1) cases, which is more than
5 %. A bootstrap of that few images does not show this.
"""
FEW_STEPS = 100
"""The number of optimiser steps below which the verdict warns that training was short."""
DRAWS = 1000
"""The number of bootstrap samples of the images, if there are fewer than 2000 images."""
LEVEL = 0.95
ALONE = "no other trial was trained to the end"
AHEAD = "none of the others that were trained to the end is better on the validation images"


@dataclass(frozen=True)
class Difference:
    """The difference of a score between two predictions on the same images.

    It has a bootstrap interval (Efron & Tibshirani 1993, section 13.3) and a standard error.
    """

    value: float
    low: float
    high: float
    error: float

    @property
    def sure(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Choice:
    trial: int
    reason: str


def choose(store: Store, records: Sequence[Record], spec: Spec, finished: int = 0) -> Choice | None:
    """Choose the recipe, unless another trial is clearly better on the validation images.

    A trial is clearly better if it leads by more than the standard error of the difference (Breiman et al. 1984,
    section 3.4.3: the one-standard-error rule). On fewer than FEW_IMAGES images, the interval of the difference must
    exclude zero. If there is no finished recipe with counts, the best trial is chosen. Returns None if no trial has
    finished.

    With several objectives there is no single best trial, and the recipe is not preferred. `finished` is the number of
    trials that were trained to the end, if `records` holds only the best of them.
    """
    chosen = leaders.best(records, spec.objectives, 1)
    if not chosen:
        return None
    best = chosen[0]
    rivals = [one for one in leaders.ranked(records, spec.objective) if "val_counts" in one.files]
    recipe = next((one for one in rivals if one.source == RECIPE), None)
    if recipe is None or len(spec.objectives) > 1:
        return Choice(best.trial, f"trial {best.trial} is the best on the validation images")
    best = rivals[0]
    if best.trial == recipe.trial:
        return Choice(recipe.trial, ALONE if max(finished, len(rivals)) == 1 else AHEAD)
    lead = _lead(store, best, recipe, spec)
    if lead is None:
        return Choice(best.trial, f"trial {best.trial} is better than the recipe on the validation images")
    images = len(_counts(store, best).hard)
    sure = lead.low > 0 and images >= MIN_IMAGES
    enough = sure if images < FEW_IMAGES else lead.value > lead.error
    by = f"{lead.value:.4f} ({lead.low:.4f} to {lead.high:.4f}) on {images} validation images"
    if enough:
        return Choice(best.trial, f"trial {best.trial} is better than the recipe by {by}")
    return Choice(recipe.trial, f"trial {best.trial} leads the recipe by {by}, which is not beyond doubt")


def _lead(store: Store, best: Record, recipe: Record, spec: Spec) -> Difference | None:
    """Return the difference in the objective, or None if counts do not give the objective (val_loss)."""
    name = spec.objective.metric.removeprefix("val_")
    if name not in metrics.scores(_counts(store, recipe)):
        return None
    return difference(_counts(store, best), _counts(store, recipe), name)


def _counts(store: Store, record: Record) -> Counts:
    return counts.from_table(counts.from_parquet(store.read(record.path("val_counts"))))[1]


def difference(one: Counts, other: Counts, name: str) -> Difference:
    """Return the difference in the score `name` (seg.metrics.scores).

    Both counts must be of the same images in the same order.
    """
    drawn = np.array([_score(one, rows, name) - _score(other, rows, name) for rows in _draws(len(one.hard))])
    low, high = _bounds(drawn)
    return Difference(
        metrics.scores(one)[name] - metrics.scores(other)[name], low, high, float(np.nanstd(drawn, ddof=1))
    )


def interval(of: Counts, name: str) -> tuple[float, float]:
    return _bounds(np.array([_score(of, rows, name) for rows in _draws(len(of.hard))]))


def _draws(images: int) -> Sequence[torch.Tensor]:
    """Return bootstrap samples of the images' indices, the same ones at every call."""
    rng = np.random.default_rng(0)
    return [torch.from_numpy(rng.integers(0, images, images)) for _ in range(DRAWS if images < 2000 else DRAWS // 5)]


def _score(of: Counts, rows: torch.Tensor, name: str) -> float:
    return metrics.scores(Counts(of.hard[rows], of.soft[rows])).get(name, float("nan"))


def _bounds(drawn: np.ndarray) -> tuple[float, float]:
    low, high = np.nanquantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def give(
    store: Store,
    spec: Spec,
    records: Sequence[Record],
    choice: Choice,
    trivial: Mapping[str, Counts],
    images: Mapping[str, int],
) -> dict[str, Any]:
    """Return the verdict for study.json: numbers, and the sentences that people read.

    The finalists must have been scored. `trivial`: the counts of each trivial prediction on the test images, at native
    size. `images`: the number of images of each split.
    """
    by_trial = {record.trial: record for record in records}
    test = {record.trial: native for record in records if (native := _native(store, record)) is not None}
    name = _metric(spec, test.get(choice.trial))
    chosen, recipe = by_trial[choice.trial], next((one for one in records if one.source == RECIPE), None)
    found: dict[str, Any] = {"trial": choice.trial, "recipe": chosen.source == RECIPE, "reason": choice.reason}
    if choice.trial in test:
        mine = test[choice.trial]
        low, high = interval(mine, name)
        best = max(trivial, key=lambda one: metrics.scores(trivial[one])[name])
        found |= {"metric": name, "score": metrics.scores(mine)[name], "low": low, "high": high}
        found |= {"trivial": best, "trivial_score": metrics.scores(trivial[best])[name]}
        found["over_trivial"] = asdict(difference(mine, trivial[best], name))
        if recipe is not None and recipe.trial in test and recipe.trial != choice.trial:
            found["over_recipe"] = asdict(difference(mine, test[recipe.trial], name))
        published = {one.name for one in spec.baselines if one.system}
        found["over_published"] = {
            record.source: asdict(difference(mine, test[record.trial], name))
            for record in records
            if record.source in published and record.trial in test and record.trial != choice.trial
        }
    found["sentences"] = list(_sentences(found, images["test"]))
    found["warnings"] = list(warnings(chosen, images))
    return found


def _native(store: Store, record: Record) -> Counts | None:
    if record.test is None or "test_counts" not in record.files:
        return None
    table = counts.from_parquet(store.read(record.path("test_counts")))
    return counts.from_table(table[table["size"] == "native"])[1]


def _metric(spec: Spec, found: Counts | None) -> str:
    """Return the name of the objective's score, or `iou` if counts do not give that score."""
    name = spec.objective.metric.removeprefix("val_")
    return name if found is not None and name in metrics.scores(found) else "iou"


def _sentences(found: Mapping[str, Any], images: int) -> list[str]:
    """Return sentences on the score with its interval, and against no training, the recipe, and published results."""
    what = "the recipe" if found["recipe"] else f"trial {found['trial']}"
    if "score" not in found:
        return [f"The choice is {what}: {found['reason']}. It was not scored on test images."]
    name = NAMES.get(found["metric"], found["metric"].replace("_", " "))
    lines = [
        f"The choice is {what}: test {name} {found['score']:.3f} "
        f"(95 % interval {found['low']:.3f} to {found['high']:.3f}, {images} images at native size).",
        f"Without any training: {found['trivial_score']:.3f} ({found['trivial']}). "
        + _against(found["over_trivial"], "The choice is", "that"),
        f"Why this trial: {found['reason']}.",
    ]
    if "over_recipe" in found:
        lines.append(_against(found["over_recipe"], "On the test images it is", "the recipe"))
    lines += [_against(one, "It is", f"published {name}") for name, one in found["over_published"].items()]
    return lines


NAMES = {"iou": "IoU", "dice": "Dice"}


def _against(one: Mapping[str, float], subject: str, other: str) -> str:
    sure = one["low"] > 0 or one["high"] < 0
    by = f"by {abs(one['value']):.3f} ({one['low']:+.3f} to {one['high']:+.3f})"
    if not sure:
        interval = f"{one['value']:+.3f} ({one['low']:+.3f} to {one['high']:+.3f})"
        return f"{subject} not significantly different from {other}: {interval}."
    return f"{subject} {'better' if one['value'] > 0 else 'WORSE'} than {other} {by}."


def warnings(chosen: Record, images: Mapping[str, int]) -> list[str]:
    """Return lines on why the result may be unreliable, and what to do about it."""
    found = []
    if images["val"] < FEW_IMAGES:
        found.append(
            f"only {images['val']} validation images: which trial is best is largely luck; "
            "add images, or let more of them validate (splits.csv)"
        )
    if images["test"] < FEW_IMAGES:
        found.append(f"only {images['test']} test images: the interval is wide; score more images to narrow it")
    steps = len(chosen.epochs) * -(-images["train"] // chosen.experiment["batch_size"])
    if steps < FEW_STEPS:
        found.append(
            f"only {steps} optimiser steps of training: too few to judge anything by; give --epochs or --budget"
        )
    return found
