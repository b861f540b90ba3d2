"""How much each choice explains of what makes a trial good, through Optuna: plain data in, plain data out."""

import math
import warnings
from collections.abc import Mapping, Sequence

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

Value = str | bool | int | float


def ped_anova(choices: Sequence[Mapping[str, Value]], scores: Sequence[float], maximise: bool) -> dict[str, float]:
    """Share of each choice, adding up to 1: PED-ANOVA (Watanabe et al. 2023, arXiv:2304.10255).

    `choices` holds one mapping a trial; a choice that a trial does not have is left out of its mapping.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize" if maximise else "minimize")
    names = list(dict.fromkeys(name for made in choices for name in made))
    distributions = {name: _distribution([made[name] for made in choices if name in made]) for name in names}
    for made, score in zip(choices, scores, strict=True):
        of_trial = {name: distributions[name] for name in made}
        study.add_trial(optuna.trial.create_trial(params=dict(made), distributions=of_trial, value=score))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        return optuna.importance.get_param_importances(study, evaluator=evaluator)


def _distribution(values: Sequence[Value]) -> BaseDistribution:
    if any(isinstance(value, str | bool) for value in values):
        return CategoricalDistribution(sorted(set(values), key=str))
    low, high = float(min(values)), float(max(values))
    return FloatDistribution(low, high, log=low > 0 and math.log10(high / low) > 1)
