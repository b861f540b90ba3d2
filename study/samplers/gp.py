"""A Gaussian process and its expected improvement, over the whole space with its conditions filled in."""

import copy

from optuna.samplers import GPSampler
from optuna.trial import FrozenTrial, TrialState

from seg.experiment import Experiment
from study import space
from study.conditions import flat
from study.dimension import from_unit
from study.samplers.ask import ask
from study.samplers.history import History
from study.spec import Spec

STARTUP = 10
"""Trials that are drawn at random."""
SHOWN = 100
"""A proposal takes time with the cube of the trials that it is fitted to."""
GOOD = 25


class Gp:
    """Optuna's GPSampler. A dimension that a trial has not, by its conditions, is put in the middle of its range.

    A Gaussian process compares values of one kind, and stopped trials have theirs at different epochs: it is fitted
    at the highest epoch that enough trials have reached (Falkner et al. 2018, BOHB, section 3.2), to the best score of
    each by then. What failed counts as the worst of them.
    """

    def __init__(self, spec: Spec):
        self._spec = spec
        self._middle = {name: from_unit(dimension, 0.5) for name, dimension in flat(spec).items()}
        self._distributions = {name: space.distribution(dimension) for name, dimension in flat(spec).items()}

    def propose(self, trial: int, seed: int, history: History) -> Experiment:
        sampler = GPSampler(seed=seed, n_startup_trials=STARTUP, warn_independent_sampling=False)
        asked = ask(sampler, self._spec, self._shown(history))
        return space.suggest(asked, self._spec)

    def _shown(self, history: History) -> list[FrozenTrial]:
        epoch, reached = _comparable(history, max(STARTUP, len(self._distributions) + 3))
        values = {number: history.scores[number][epoch - 1] for number in reached}
        running = [number for number, trial in history.trials.items() if trial.state is TrialState.RUNNING]
        if values:
            worst = (min if self._spec.objective.mode == "max" else max)(values.values())
            values |= {number: worst for number, trial in history.trials.items() if trial.constraints}
        chosen = self._spread(values)
        return [self._flat(history.trials[number], values.get(number)) for number in [*chosen, *running]]

    def _spread(self, values: dict[int, float]) -> list[int]:
        """The best, and of the others every k-th."""
        if len(values) <= SHOWN:
            return sorted(values)
        order = sorted(values, key=values.__getitem__, reverse=self._spec.objective.mode == "max")
        others = sorted(order[GOOD:])
        count = SHOWN - GOOD
        return sorted([*order[:GOOD], *(others[i * len(others) // count] for i in range(count))])

    def _flat(self, trial: FrozenTrial, value: float | None) -> FrozenTrial:
        flat = copy.copy(trial)
        flat.params, flat.distributions = self._middle | trial.params, self._distributions
        if value is not None:
            flat.state, flat.value, flat.system_attrs = TrialState.COMPLETE, value, {}
        return flat


def _comparable(history: History, enough: int) -> tuple[int, list[int]]:
    """The highest epoch that `enough` trials have reached, or all where there are fewer, and who they are."""
    lengths = sorted((len(scores) for scores in history.scores.values() if scores), reverse=True)
    if not lengths:
        return 0, []
    epoch = lengths[min(enough, len(lengths)) - 1]
    return epoch, [trial for trial, scores in history.scores.items() if len(scores) >= epoch]
