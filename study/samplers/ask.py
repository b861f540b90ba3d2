"""Asking a sampler of Optuna's for a trial, shown a history that is ours."""

from collections.abc import Container, Sequence

import optuna
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from study.spec import Spec


class _Shown(InMemoryStorage):
    """Trials as they are, not copied one by one: Optuna only reads them."""

    def __init__(self, trials: Sequence[FrozenTrial]):
        super().__init__()
        self._shown = trials

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        asked = super().get_all_trials(study_id, deepcopy, states)
        return [trial for trial in self._shown if states is None or trial.state in states] + asked


def ask(sampler: BaseSampler, spec: Spec, shown: Sequence[FrozenTrial]) -> optuna.Trial:
    """A trial that is number 0 of a study that holds `shown` beside it."""
    return optuna.create_study(storage=_Shown(shown), sampler=sampler, directions=directions(spec)).ask()


def directions(spec: Spec) -> list[StudyDirection]:
    """Of each objective."""
    by_mode = {"max": StudyDirection.MAXIMIZE, "min": StudyDirection.MINIMIZE}
    return [by_mode[objective.mode] for objective in spec.objectives]
