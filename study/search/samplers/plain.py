"""Samplers that learn nothing, for comparison with the others: random and quasi-random points."""

import numpy as np

from seg.experiment import Experiment
from study.search.samplers.history import History
from study.spec import Spec
from study.spec.conditions import at, flat
from study.spec.dimension import from_unit


class Random:
    """A sampler that draws each trial independently and uniformly from the space."""

    def __init__(self, spec: Spec):
        self._spec = spec

    def propose(self, trial: int, seed: int, history: History) -> Experiment:
        dimensions = flat(self._spec)
        return _experiment(self._spec, np.random.default_rng(seed).random(len(dimensions)).tolist())


class Quasirandom:
    """The points of a Sobol sequence, scrambled by the study's seed (Owen 1998).

    They are like random points, but without their gaps and clusters. A trial's number is its index in the sequence.
    """

    def __init__(self, spec: Spec):
        self._spec = spec

    def propose(self, trial: int, seed: int, history: History) -> Experiment:
        count = len(flat(self._spec))
        if not count:
            return _experiment(self._spec, [])
        import torch  # imported here, because the rest of a search does not need it

        sequence = torch.quasirandom.SobolEngine(count, scramble=True, seed=self._spec.seed)
        return _experiment(self._spec, sequence.fast_forward(trial).draw(1)[0].tolist())


def _experiment(spec: Spec, places: list[float]) -> Experiment:
    dimensions = flat(spec).items()
    return at(spec, {name: from_unit(of, place) for (name, of), place in zip(dimensions, places, strict=True)})
