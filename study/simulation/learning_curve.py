"""The simulated learning curve of an experiment: made up, but the same every time."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from seg.experiment import Experiment
from study.ranking.objective import Objective
from study.search import space
from study.spec import Spec
from study.spec.conditions import flat
from study.spec.dimension import Dimension, Range, to_unit
from study.store.records import State
from study.trials.messages import Failure

IMAGES = 1000
"""The number of images in an imagined training set, for images_per_second."""

WORST, BEST, START = 0.45, 0.92, 0.3
"""The worst and the best final quality of a trial, and the quality at which trials begin."""
DECAY = 0.6
"""The ratio of successive weights of the dimensions, in random order.

Only a few dimensions matter much (Bergstra and Bengio 2012).
"""
RUN_NOISE, EPOCH_NOISE = 0.008, 0.01
"""Standard deviations of the final quality between seeds of the same choices, and of the score of a single epoch."""
EPOCH_SECONDS = 60.0
DIVERGES_ABOVE = 0.95
"""The place in a learning rate's range above which half of the trials end with a NaN."""


@dataclass(frozen=True)
class LearningCurve:
    """The learning curve of an experiment, with the seconds of each epoch and its failure, if it fails.

    `quality` is the objective if more of it is better, otherwise 1 minus the objective.
    """

    quality_E: np.ndarray
    seconds_E: np.ndarray
    """Seconds of each epoch on a lane of usual speed."""
    failure: Failure | None = None
    fails_in: int = 0
    """The epoch in which the trial fails, if it does."""


class Curves(Protocol):
    def course(self, experiment: Experiment) -> LearningCurve:
        """Return the learning curve of the experiment over all its epochs."""


def chance(seed: int, experiment: Experiment) -> np.random.Generator:
    """Return the random generator of an experiment. A replicate has another, because the seed is one of the fields."""
    key = json.dumps([seed, experiment.to_json()], sort_keys=True)
    return np.random.default_rng(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]))


def places_of(experiment: Experiment, dimensions: Mapping[str, Dimension]) -> dict[str, float]:
    """Return the experiment's place, in [0, 1], in each dimension that exists for it.

    A published baseline may lie outside a dimension. If the dimension is a range, its nearest end counts; if it is a
    list of choices, it is left out.
    """
    found = {}
    for name, value in space.choices(experiment).items():
        dimension = dimensions.get(name)
        if dimension is not None and value is not None and (isinstance(dimension, Range) or value in dimension):
            found[name] = min(max(to_unit(dimension, value), 0.0), 1.0)
    return found


def row(
    course: LearningCurve, epoch: int, seconds: float, experiment: Experiment, objective: Objective
) -> dict[str, Any]:
    """Return the row of an epoch as a worker reports it. All losses and scores are functions of the one quality."""
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


class ModelCurves:
    """Learning curves from a seeded model.

    Each dimension has one best value for the final quality and another for the speed, so that curves cross. Quality
    and slowness are correlated, as they are for learning rates and regularisation.
    """

    def __init__(self, spec: Spec, seed: int, failures: float = 0.0):
        """Draw the model. `failures`: share of trials that end with an exception or out of memory, for any choices."""
        self._seed, self._failures, self._epochs = seed, failures, spec.epochs
        self._dimensions = flat(spec)
        chance = np.random.default_rng(seed)
        self._reach, self._pace = (_Surface(self._dimensions, chance) for _ in range(2))

    def course(self, experiment: Experiment) -> LearningCurve:
        dice = chance(self._seed, experiment)
        places = places_of(experiment, self._dimensions)
        badness, slowness = self._reach.height(places), self._pace.height(places)
        reached = BEST - (BEST - WORST) * badness + dice.normal(0, RUN_NOISE)
        epochs = np.arange(1, self._epochs + 1)
        constant = self._epochs * (0.03 + 0.35 * (0.6 * slowness + 0.4 * (1 - badness)))
        quality = reached - (reached - START) * np.exp(-epochs / constant)
        quality = np.clip(quality + dice.normal(0, EPOCH_NOISE, self._epochs), 0.01, 0.99)
        seconds = EPOCH_SECONDS * dice.lognormal(0, 0.05, self._epochs)
        return LearningCurve(quality, seconds, *self._failure(dice, places))

    def _failure(self, dice: np.random.Generator, places: dict[str, float]) -> tuple[Failure | None, int]:
        kind, epoch = dice.random(), int(dice.integers(1, self._epochs + 1))
        rate = max((place for name, place in places.items() if name.endswith("_lr")), default=0.0)
        if rate > DIVERGES_ABOVE and dice.random() < 0.5:
            return Failure(State.FAILED, f"training loss is nan in epoch {epoch}", "simulated", lane_lives=True), epoch
        if kind < self._failures / 2:
            return Failure(State.FAILED, "RuntimeError: simulated", "simulated", lane_lives=False), epoch
        if kind < self._failures:
            return Failure(State.INFEASIBLE, "out of memory: simulated", "simulated", True, out_of_memory=True), 1
        return None, 0


class _Surface:
    """A function of the choices between 0 and 1. It is 0 if every choice is the best one."""

    def __init__(self, dimensions: dict[str, Dimension], chance: np.random.Generator):
        weights = DECAY ** chance.permutation(len(dimensions))
        self._weight = dict(zip(dimensions, weights / max(weights.sum(), 1e-9), strict=True))
        self._best = dict(zip(dimensions, chance.uniform(0.15, 0.85, len(dimensions)), strict=True))
        self._choices = {n: chance.random(len(of)) for n, of in dimensions.items() if not isinstance(of, Range)}

    def height(self, places: dict[str, float]) -> float:
        total = sum(self._weight[name] * self._cost(name, place) for name, place in places.items())
        return float(1 - np.exp(-2 * total))

    def _cost(self, name: str, place: float) -> float:
        if (choices := self._choices.get(name)) is not None:
            return float(choices[int(place * len(choices))] - choices.min())
        return float(((place - self._best[name]) / 0.4) ** 2)
