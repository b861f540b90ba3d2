"""CMA-ES, with generations formed by the trials' numbers."""

from typing import Any

import numpy as np

from seg.experiment import Experiment
from study.search.samplers.history import History
from study.spec import Spec
from study.spec.conditions import at, flat
from study.spec.dimension import from_unit, to_unit

SIGMA = 1 / 6
"""The standard deviation of the first generation, as a share of each range; Optuna's choice."""


class Cmaes:
    """Covariance matrix adaptation (Hansen 2016, arXiv:1604.00772) in the unit cube, by the package `cmaes`.

    Proposed trials form generations by their numbers. A generation that has ended updates the distribution. Lanes that
    are free before that draw from the old distribution, so that no lane waits. Only the order within a generation
    counts: it is TPE's order, and failed trials come last. After convergence, the search restarts at another point.
    """

    def __init__(self, spec: Spec):
        self._spec = spec
        self._dimensions = flat(spec)
        self._first = len(spec.baselines)
        self._generation = 0
        self._optimizer = self._fresh()

    def propose(self, trial: int, seed: int, history: History) -> Experiment:
        while (ended := self._ended(history)) is not None:
            self._optimizer.tell(ended)
            self._generation += 1
            if self._optimizer.should_stop():
                self._optimizer = self._fresh()
        self._optimizer.reseed_rng(seed)
        return at(self._spec, dict(zip(self._dimensions, self._values(self._optimizer.ask()), strict=True)))

    def _fresh(self) -> Any:
        import cmaes

        chance = np.random.default_rng([self._spec.seed, self._generation])
        count = len(self._dimensions)
        mean = chance.random(count) if self._generation else np.full(count, 0.5)
        bounds = np.tile([0.0, 1.0], (count, 1))
        return cmaes.CMA(mean, SIGMA, bounds=bounds, n_max_resampling=10 * count, seed=self._spec.seed)

    def _values(self, places: np.ndarray) -> list[Any]:
        return [from_unit(of, float(place)) for of, place in zip(self._dimensions.values(), places, strict=True)]

    def _ended(self, history: History) -> list[tuple[np.ndarray, float]] | None:
        """Return the points and ranks of the next generation; None until each of its trials has ended or paused."""
        size = self._optimizer.population_size
        first = self._first + self._generation * size
        members = [history.trials.get(number) for number in range(first, first + size)]
        if any(member is None or not member.state.is_finished() for member in members):
            return None
        order = {number: place for place, number in enumerate(history.ordered())}
        return [
            (self._places(member.params), float(order.get(member.number - 1, len(order))))
            for member in members
            if member is not None
        ]

    def _places(self, params: dict[str, Any]) -> np.ndarray:
        return np.array([to_unit(of, params[name]) for name, of in self._dimensions.items()])
