"""Tree-structured Parzen estimators, from a part of the history so chosen that they are what all of it would give."""

from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState

from seg.experiment import Experiment
from study import space
from study.samplers.ask import ask
from study.samplers.history import History
from study.spec import Spec

GOOD = 25
"""TPE's good trials are the best tenth, and never more than these (Bergstra et al. 2013; Optuna's `gamma`)."""
SHOWN = 10 * GOOD
"""From so many on there are as many good ones as there ever are."""


class Tpe:
    """Optuna's TPE: multivariate, a group of dimensions for each condition, running trials counted as bad ones."""

    def __init__(self, spec: Spec, most: int = SHOWN):
        """`most`: finished trials that it sees at a time."""
        self._spec, self._most = spec, most

    def propose(self, trial: int, seed: int, history: History) -> Experiment:
        sampler = TPESampler(multivariate=True, group=True, constant_liar=True, seed=seed)
        return space.suggest(ask(sampler, self._spec, shown(history, self._most)), self._spec)


def shown(history: History, most: int = SHOWN) -> list[FrozenTrial]:
    """At most `most` trials that do not run, and every running one.

    TPE compares two densities: that of the good trials, of which there are at most GOOD however long the study, and
    that of all others. The good ones are shown exactly; the others are a sample of their density already, and every
    k-th of them, in the order of their numbers, is a smaller one.
    """
    running = [trial for trial in history.trials.values() if trial.state is TrialState.RUNNING]
    finished = sorted(number for number, trial in history.trials.items() if trial.state is not TrialState.RUNNING)
    if len(finished) > most:
        good = _thinned(history.best(GOOD), most // 2)
        others = [number for number in finished if number not in good]
        finished = sorted(good | _thinned(others, most - len(good)))
    return [*(history.trials[number] for number in finished), *running]


def _thinned(numbers: list[int], most: int) -> set[int]:
    """All, or every k-th."""
    count = min(most, len(numbers))
    return {numbers[i * len(numbers) // count] for i in range(count)}
