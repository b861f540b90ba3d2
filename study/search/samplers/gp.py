"""A Gaussian process with expected improvement. It covers the whole space and fills in dimensions a trial lacks."""

import copy

from optuna.samplers import GPSampler
from optuna.trial import FrozenTrial, TrialState

from seg.experiment import Experiment
from study.search import space
from study.search.samplers.history import History, ask
from study.spec import Spec
from study.spec.conditions import flat
from study.spec.dimension import from_unit

STARTUP = 10
"""The number of first trials, which are drawn at random."""
MAX_FITTED_TRIALS = 100
"""The maximum number of scored trials to fit: the time of a proposal grows with the cube of their number."""
BEST_TRIALS = 25


class Gp:
    """Optuna's GPSampler. If a trial lacks a conditional dimension, its value there is the middle of the range.

    A Gaussian process needs comparable scores, but stopped trials have scores from different epochs. It is therefore
    fitted at the highest epoch that enough trials have reached (Falkner et al. 2018, BOHB, section 3.2). Each trial
    counts with its best score up to that epoch, and a failed trial with the worst of these scores.
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
        """Return at most MAX_FITTED_TRIALS trials: the best BEST_TRIALS ones, and every k-th of the others."""
        if len(values) <= MAX_FITTED_TRIALS:
            return sorted(values)
        order = sorted(values, key=values.__getitem__, reverse=self._spec.objective.mode == "max")
        others = sorted(order[BEST_TRIALS:])
        count = MAX_FITTED_TRIALS - BEST_TRIALS
        return sorted([*order[:BEST_TRIALS], *(others[i * len(others) // count] for i in range(count))])

    def _flat(self, trial: FrozenTrial, value: float | None) -> FrozenTrial:
        flat = copy.copy(trial)
        flat.params, flat.distributions = self._middle | trial.params, self._distributions
        if value is not None:
            flat.state, flat.value, flat.system_attrs = TrialState.COMPLETE, value, {}
        return flat


def _comparable(history: History, enough: int) -> tuple[int, list[int]]:
    """Return the highest epoch that `enough` trials have reached, and these trials.

    If fewer trials have a score, all of these must have reached it.
    """
    lengths = sorted((len(scores) for scores in history.scores.values() if scores), reverse=True)
    if not lengths:
        return 0, []
    epoch = lengths[min(enough, len(lengths)) - 1]
    return epoch, [trial for trial, scores in history.scores.items() if len(scores) >= epoch]
