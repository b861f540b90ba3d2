"""The conditional search space of a spec in Optuna's form, define-by-run and without Ray."""

import dataclasses
from functools import partial
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import BaseTrial

from seg.experiment import Experiment
from seg.options import HYPERPARAMETERS
from study.spec import Spec
from study.spec.conditions import by_field, determine, parameter, published
from study.spec.dimension import Dimension, Range, Value, fixed_value

OptunaValues = tuple[dict[str, Value], dict[str, BaseDistribution]]
"""Parameters and their distributions, in the form that optuna.trial.create_trial takes."""


class _OutsideError(Exception):
    """The error that an experiment has a value outside its dimension."""


def suggest(trial: BaseTrial, spec: Spec) -> Experiment:
    """Return the experiment of a trial: `trial` suggests its choices, and all else comes from the spec.

    Optuna's parameters have the names of Experiment's fields; a loss's parameters are named `loss_<loss>_<name>`. A
    dimension with a single value is not a parameter. Every searched trial has the study's seed, so that trials differ
    only by their choices.
    """
    return determine(spec, partial(_ask, trial))


def optuna_values(experiment: Experiment, spec: Spec) -> OptunaValues | None:
    """Return the parameters and distributions by which Optuna knows `experiment`: the inverse of `suggest`.

    Return None if the experiment could not have been suggested, for example a published baseline whose optimizer is
    not in the search. The seed does not count, because it is not a choice.
    """
    if spec.search is None:
        return None
    experiment = dataclasses.replace(experiment, seed=spec.seed)
    values = choices(experiment)
    params: dict[str, Value] = {}
    distributions: dict[str, BaseDistribution] = {}

    def look_up(name: str, dimension: Dimension) -> Value:
        if name not in values or values[name] not in dimension:
            raise _OutsideError(name)
        if fixed_value(dimension) is None:
            params[name], distributions[name] = values[name], distribution(dimension)
        return values[name]

    try:
        rebuilt = determine(spec, look_up)
    except _OutsideError:
        return None
    return (params, distributions) if rebuilt == experiment else None


def choices(experiment: Experiment) -> dict[str, Any]:
    """Return every choice of an experiment by its name in the search."""
    fields = experiment.to_json()
    parameters = fields.pop("loss_parameters")
    return fields | {parameter(experiment.loss, name): value for name, value in parameters.items()}


def baselines(spec: Spec) -> list[tuple[str, Experiment]]:
    """Return the name and experiment of each published configuration, in the spec's order."""
    return [(baseline.name, published(spec, baseline)) for baseline in spec.baselines]


def distribution(dimension: Dimension) -> BaseDistribution:
    if not isinstance(dimension, Range):
        return CategoricalDistribution(dimension)
    if dimension.integer:
        return IntDistribution(
            int(dimension.low), int(dimension.high), log=dimension.log, step=int(dimension.step or 1)
        )
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log, step=dimension.step)


def describe(spec: Spec) -> list[str]:
    """Return the search space as readable lines: each searched dimension with its condition, then the fixed values."""
    if spec.search is None:
        return ["none: baselines only"]
    searched, fixed = [], []
    for name, dimension in by_field(spec).items():
        where = HYPERPARAMETERS[name].where if name in HYPERPARAMETERS else ""
        condition = f" (where {where})" if where else ""
        value = fixed_value(dimension)
        if value is None:
            searched.append(f"{name}: {_text(dimension)}{condition}")
        else:
            fixed.append(f"{name} {_number(value)}")
    for loss, parameters in spec.losses.items():
        searched += [f"loss_{name}: {_text(of)} (where the loss is {loss})" for name, of in parameters.items()]
    return [*searched, f"fixed: {', '.join(fixed) or 'nothing'}"]


def _ask(trial: BaseTrial, name: str, dimension: Dimension) -> Value:
    value = fixed_value(dimension)
    if value is not None:
        return value
    if not isinstance(dimension, Range):
        chosen: Any = trial.suggest_categorical(name, dimension)
        return chosen
    if dimension.integer:
        low, high, step = int(dimension.low), int(dimension.high), int(dimension.step or 1)
        return trial.suggest_int(name, low, high, step=step, log=dimension.log)
    return trial.suggest_float(name, dimension.low, dimension.high, step=dimension.step, log=dimension.log)


def _text(dimension: Dimension) -> str:
    return str(dimension) if isinstance(dimension, Range) else ", ".join(map(_number, dimension))


def _number(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def directions(spec: Spec) -> list[StudyDirection]:
    """Return the direction of each objective."""
    by_mode = {"max": StudyDirection.MAXIMIZE, "min": StudyDirection.MINIMIZE}
    return [by_mode[objective.mode] for objective in spec.objectives]
