"""Tree-structured Parzen estimators (TPE), fitted to trials that are chosen to represent the whole history."""

from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState

from seg.experiment import Experiment
from study.search import space
from study.search.samplers.history import History, ask
from study.spec import Spec

MAX_GOOD_TRIALS = 25
"""The maximum number of TPE's good trials, which are the best tenth (Bergstra et al. 2013; Optuna's `gamma`)."""
MAX_FITTED_TRIALS = 10 * MAX_GOOD_TRIALS
"""The number of trials from which on the number of good ones no longer grows."""


class Tpe:
    """Optuna's TPE: multivariate, with a group of dimensions per condition. Running trials count as bad ones."""

    def __init__(self, spec: Spec, most: int = MAX_FITTED_TRIALS):
        """Prepare the sampler. `most`: the maximum number of trials that it sees, besides the running ones."""
        self._spec, self._most = spec, most

    def propose(self, trial: int, seed: int, history: History) -> Experiment:
        sampler = TPESampler(multivariate=True, group=True, constant_liar=True, seed=seed)
        return space.suggest(ask(sampler, self._spec, fitted_trials(history, self._most)), self._spec)


def fitted_trials(history: History, most: int = MAX_FITTED_TRIALS) -> list[FrozenTrial]:
    """Return every running trial, and up to `most` others.

    TPE compares the density of the good trials, which are at most MAX_GOOD_TRIALS, with that of all others. If there
    are too many trials, the others are thinned evenly by trial number, so that the rest has the same density.
    """
    running = [trial for trial in history.trials.values() if trial.state is TrialState.RUNNING]
    finished = sorted(number for number, trial in history.trials.items() if trial.state is not TrialState.RUNNING)
    if len(finished) > most:
        good = _thinned(history.best(MAX_GOOD_TRIALS), most // 2)
        others = [number for number in finished if number not in good]
        finished = sorted(good | _thinned(others, most - len(good)))
    return [*(history.trials[number] for number in finished), *running]


def _thinned(numbers: list[int], most: int) -> set[int]:
    """Return all numbers if there are at most `most`, otherwise every k-th."""
    count = min(most, len(numbers))
    return {numbers[i * len(numbers) // count] for i in range(count)}
