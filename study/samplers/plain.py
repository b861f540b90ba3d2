"""Samplers that learn nothing, to hold the others against: random and quasi-random points."""

import numpy as np

from seg.experiment import Experiment
from study.conditions import at, flat
from study.dimension import from_unit
from study.samplers.history import History
from study.spec import Spec


class Random:
    """Each trial drawn by itself, evenly over the space."""

    def __init__(self, spec: Spec):
        self._spec = spec

    def propose(self, trial: int, seed: int, history: History) -> Experiment:
        dimensions = flat(self._spec)
        return _experiment(self._spec, np.random.default_rng(seed).random(len(dimensions)).tolist())


class Quasirandom:
    """Points of a Sobol sequence, scrambled by the study's seed (Owen 1998): as random ones, without their gaps and
    clusters. A trial's number is its place in the sequence."""

    def __init__(self, spec: Spec):
        self._spec = spec

    def propose(self, trial: int, seed: int, history: History) -> Experiment:
        count = len(flat(self._spec))
        if not count:
            return _experiment(self._spec, [])
        import torch  # here: the rest of a search needs none

        sequence = torch.quasirandom.SobolEngine(count, scramble=True, seed=self._spec.seed)
        return _experiment(self._spec, sequence.fast_forward(trial).draw(1)[0].tolist())


def _experiment(spec: Spec, places: list[float]) -> Experiment:
    dimensions = flat(spec).items()
    return at(spec, {name: from_unit(of, place) for (name, of), place in zip(dimensions, places, strict=True)})
