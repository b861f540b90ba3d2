"""PED-ANOVA: how much each hyperparameter decides whether a trial is among the best.

Watanabe, Bansal & Hutter 2023, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary Subspaces"
(IJCAI, arXiv:2304.10255). Parameters that only some trials have are weighted as in its conditional form
(arXiv:2601.20800). It compares where the best trials lie along a parameter with where all trials lie. An early-stopped
trial therefore counts too, as a trial that is usually not among the best. Optuna computes it.
"""

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis import ranking

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

TOP_TRIALS = 5
TOP_SHARE = 0.1
"""The share of the trials that counts as the best.

At least TOP_TRIALS count, because densities of fewer are mostly prior, but never more than half.
"""
MIN_TRIALS = 4
ENOUGH_TRIALS = 20


@dataclass(frozen=True)
class Dimension:
    """A searched column: its `choices`, or a range from `low` to `high`."""

    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    step: float | None = None

    def distribution(self) -> "BaseDistribution":
        """Return Optuna's form of the dimension."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices:
            return CategoricalDistribution(self.choices)
        if self.step and float(self.step).is_integer() and float(self.low).is_integer():
            return IntDistribution(int(self.low), int(self.high), self.log, 1 if self.log else int(self.step))
        return FloatDistribution(self.low, self.high, self.log, None if self.log else self.step)

    def inside(self, value: Any) -> Any:
        """Return `value`, or the end of the range that is nearest to it."""
        return value if self.choices else min(max(value, self.low), self.high)


def importance(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the importance of each parameter, the most important first.

    Columns: `parameter`, `importance` (adds up to 1), and `trials` (how many have the parameter). It is computed over
    the searched trials that ended with a score; the table is empty if there are fewer than MIN_TRIALS.
    """
    searched = _searched(trials)
    columns = ["parameter", "importance", "trials"]
    if len(searched) < MIN_TRIALS:
        return pd.DataFrame(columns=columns)
    known = dimensions(searched)
    divergences = _divergences(searched, known)  # in no fixed order
    found = {name: divergences[name] for name in known}
    total = sum(found.values())
    rows = [(name, value / (total or 1.0), int(searched[name].notna().sum())) for name, value in found.items()]
    return pd.DataFrame(rows, columns=columns).sort_values(
        "importance", ascending=False, ignore_index=True, kind="stable"
    )


def warning(trials: pd.DataFrame) -> str:
    """Return a sentence on why the numbers should not be trusted, or an empty string if they can be."""
    count = len(_searched(trials))
    if count < MIN_TRIALS:
        return f"{count} searched trials have a score: importance needs at least {MIN_TRIALS}."
    return f"Only {count} searched trials have a score: a hint, not a finding." if count < ENOUGH_TRIALS else ""


def dimensions(trials: pd.DataFrame) -> dict[str, Dimension]:
    """Return what was searched over, by column: from the study's search space, else from the values tried."""
    search = trials.attrs.get("study", {}).get("spec", {}).get("search") or {}
    declared = {name: value for name, value in search.items() if name != "loss"}
    for loss in dict(search.get("loss", {})).values():
        declared |= {f"loss_{name}": value for name, value in loss.items()}
    varied = ranking.varied(trials)
    return {
        name: _dimension(trials[name].dropna(), declared.get(name)) for name in varied if trials[name].notna().any()
    }


def _dimension(values: pd.Series, declared: Any) -> Dimension:
    if isinstance(declared, dict) and "low" in declared and declared["low"] < declared["high"]:
        step = declared.get("step") or (1 if declared.get("int") else None)
        return Dimension((), declared["low"], declared["high"], bool(declared.get("log")), step)
    distinct = values.unique().tolist()
    if isinstance(distinct[0], float) and not isinstance(declared, list) and len(distinct) > 1:
        log = min(distinct) > 0 and max(distinct) / min(distinct) > 10
        return Dimension((), min(distinct), max(distinct), log)
    return Dimension(tuple(sorted(distinct, key=str)))


def _searched(trials: pd.DataFrame) -> pd.DataFrame:
    metric = ranking.objective(trials).metric
    ended = trials["state"].isin(ranking.ENDED_WITH_SCORE) & trials[metric].notna()
    return trials[(trials["source"] == ranking.SEARCH) & ended]


def _top_count(count: int) -> int:
    return min(max(TOP_TRIALS, math.ceil(TOP_SHARE * count)), count // 2)


def _divergences(searched: pd.DataFrame, known: dict[str, Dimension]) -> dict[str, float]:
    """Return Optuna's importance of each parameter, before normalisation."""
    import optuna  # the other figures do not need it

    said, distributions = optuna.logging.get_verbosity(), {name: one.distribution() for name, one in known.items()}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study = optuna.create_study()
        # Only which trials are the best matters: the rank is the value to minimise.
        for rank, (_, row) in enumerate(ranking.ranked(searched).iterrows()):
            having = {name: one.inside(row[name]) for name, one in known.items() if pd.notna(row[name])}
            held = {name: distributions[name] for name in having}
            study.add_trial(optuna.trial.create_trial(params=having, distributions=held, value=float(rank)))
        quantile = (_top_count(len(searched)) - 0.5) / len(searched)  # Optuna rounds up
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=quantile)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of few trials, `warning` says more
            return dict(optuna.importance.get_param_importances(study, evaluator=evaluator, normalize=False))
    finally:
        optuna.logging.set_verbosity(said)
