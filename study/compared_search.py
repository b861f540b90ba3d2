"""The search of a study that compares the values of a choice: of each value its own sampler and its own rungs."""

from collections import defaultdict
from typing import Any

from ray.tune.schedulers import TrialScheduler

from seg.experiment import Experiment
from study.comparison import comparable, narrowed, value_of
from study.dimension import Value
from study.records import Record
from study.search import AllEpochs, EachItsLane, OptunaStudy, Rungs, scheduler
from study.spec import Spec


def optuna_study(spec: Spec, seed: int) -> "OptunaStudy | EachItsStudy":
    return EachItsStudy(spec, seed) if spec.compare else OptunaStudy(spec, seed)


class EachItsStudy:
    """As OptunaStudy; no value learns from another's trials."""

    def __init__(self, spec: Spec, seed: int):
        self._spec, self._compare = spec, str(spec.compare)
        self._studies = {value: OptunaStudy(narrowed(spec, value), seed) for value in comparable(spec)[self._compare]}

    def ask(self, trial: int) -> Experiment:
        return self._studies[value_of(self._spec, trial)].ask(trial)

    def tell(self, record: Record) -> None:
        """A baseline of a value that is not searched teaches nobody."""
        study = self._studies.get(record.experiment[self._compare])
        if study is not None:
            study.tell(record)


def early_stopping(spec: Spec, ended: list[Record]) -> "AllEpochs | Rungs | EachItsRungs":
    """As the spec says; knows the rungs of the trials that ended in an earlier session."""
    if spec.compare and spec.early_stopping.scheduler != "none":
        return EachItsRungs(spec, ended)
    return scheduler(spec, ended, spec.objective)


class EachItsRungs(EachItsLane, TrialScheduler):
    """Trials are stopped for what others of their own value have done."""

    def __init__(self, spec: Spec, ended: list[Record]):
        super().__init__()
        self._compare, self._objective = str(spec.compare), spec.objective
        self._rungs: dict[Value, Rungs] = defaultdict(lambda: Rungs(spec))
        """By value: of baselines that may be one that is not searched."""
        for record in ended:
            rungs = self._rungs[record.experiment[self._compare]]
            rungs.remember(f"earlier-{record.trial}", record.epochs, spec.objective)

    def stops(self, record: Record) -> bool:
        """See Rungs.stops."""
        return self._rungs[record.experiment[self._compare]].stops(record)

    def _of(self, trial: Any) -> Rungs:
        return self._rungs[trial.config["experiment"][self._compare]]

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        self._of(trial).on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        return self._of(trial).on_trial_result(tune_controller, trial, result)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        self._of(trial).on_trial_complete(tune_controller, trial, result)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        self._of(trial).on_trial_error(tune_controller, trial)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        self._of(trial).on_trial_remove(tune_controller, trial)

    def debug_string(self) -> str:
        return "\n".join(f"{value}: {rungs.debug_string()}" for value, rungs in self._rungs.items())
