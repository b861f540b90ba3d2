"""A seeded model of learning curves, for any spec: what simulated trials do where no study has been recorded."""

import numpy as np

from seg.experiment import Experiment
from study.conditions import flat
from study.dimension import Dimension, Range
from study.messages import Failure
from study.records import State
from study.simulation.course import Course, chance
from study.simulation.course import places as places_of
from study.spec import Spec

WORST, BEST, START = 0.45, 0.92, 0.3
"""Of what trials reach in the end, and where they begin."""
DECAY = 0.6
"""Each dimension's weight over the one's before, in a random order: few matter much (Bergstra and Bengio 2012)."""
RUN_NOISE, EPOCH_NOISE = 0.008, 0.01
"""Standard deviations: of what a seed makes of the same choices, and of one epoch's score."""
EPOCH_SECONDS = 60.0
DIVERGES_ABOVE = 0.95
"""Of a learning rate's range, where half of the trials end with a NaN."""


class ModelCurves:
    """Each dimension has a best value for what a trial reaches, and another for how soon: so curves cross. What is
    reached and how slowly are tied, as they are for learning rates and regularisation."""

    def __init__(self, spec: Spec, seed: int, failures: float = 0.0):
        """`failures`: share of trials that end with an exception or out of memory, whatever their choices."""
        self._seed, self._failures, self._epochs = seed, failures, spec.epochs
        self._dimensions = flat(spec)
        chance = np.random.default_rng(seed)
        self._reach, self._pace = (_Surface(self._dimensions, chance) for _ in range(2))

    def course(self, experiment: Experiment) -> Course:
        dice = chance(self._seed, experiment)
        places = places_of(experiment, self._dimensions)
        badness, slowness = self._reach.height(places), self._pace.height(places)
        reached = BEST - (BEST - WORST) * badness + dice.normal(0, RUN_NOISE)
        epochs = np.arange(1, self._epochs + 1)
        constant = self._epochs * (0.03 + 0.35 * (0.6 * slowness + 0.4 * (1 - badness)))
        quality = reached - (reached - START) * np.exp(-epochs / constant)
        quality = np.clip(quality + dice.normal(0, EPOCH_NOISE, self._epochs), 0.01, 0.99)
        seconds = EPOCH_SECONDS * dice.lognormal(0, 0.05, self._epochs)
        return Course(quality, seconds, *self._failure(dice, places))

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
    """A function of the choices between 0 and 1; 0 where every one of them is the best."""

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
