"""What would become of an experiment if it were trained: made up, but the same every time."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from seg.experiment import Experiment
from study import space
from study.dimension import Dimension, Range, to_unit
from study.messages import Failure
from study.objective import Objective

IMAGES = 1000
"""Of an imagined training set, for images_per_second."""


@dataclass(frozen=True)
class Course:
    """Epoch by epoch. `quality` is the objective where more of it is better, else 1 minus it."""

    quality_E: np.ndarray
    seconds_E: np.ndarray
    """On a lane of usual speed."""
    failure: Failure | None = None
    fails_in: int = 0
    """The epoch in which it fails, if it does."""


class Curves(Protocol):
    def course(self, experiment: Experiment) -> Course:
        """Of all its epochs."""


def chance(seed: int, experiment: Experiment) -> np.random.Generator:
    """All that happens to an experiment by chance: its seed is one of its fields, so a replicate differs."""
    key = json.dumps([seed, experiment.to_json()], sort_keys=True)
    return np.random.default_rng(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]))


def places(experiment: Experiment, dimensions: Mapping[str, Dimension]) -> dict[str, float]:
    """In [0, 1], of the dimensions that exist for the experiment and have its value, or whose range does nearly: a
    published baseline may lie outside."""
    found = {}
    for name, value in space.choices(experiment).items():
        dimension = dimensions.get(name)
        if dimension is not None and value is not None and (isinstance(dimension, Range) or value in dimension):
            found[name] = min(max(to_unit(dimension, value), 0.0), 1.0)
    return found


def row(course: Course, epoch: int, seconds: float, experiment: Experiment, objective: Objective) -> dict[str, Any]:
    """An epoch as a worker reports it, every column a function of the one quality."""
    quality = float(course.quality_E[epoch - 1])
    dice = 2 * quality / (1 + quality)
    found = {
        "epoch": epoch,
        "train_loss": 1 - dice - 0.02,
        "train_iou": quality + 0.02,
        "val_loss": 1 - dice,
        "val_iou": quality,
        "val_dice": dice,
        "val_pixel_accuracy": 0.5 + quality / 2,
        "seconds": seconds,
        "images_per_second": IMAGES / seconds,
        "encoder_lr": experiment.encoder_lr,
        "decoder_lr": experiment.decoder_lr,
    }
    return found | {objective.metric: quality if objective.mode == "max" else 1 - quality}
