"""How much each hyperparameter decides whether a trial is among the best: PED-ANOVA.

Watanabe, Bansal & Hutter 2023, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary Subspaces"
(IJCAI, arXiv:2304.10255). Parameters that only some trials have are weighted as its conditional form does
(arXiv:2601.20800). It compares where the best trials lie along a parameter with where all of them lie, so a trial
stopped early counts for what it is, one that is not among the best. Equal to Optuna's evaluator, in numpy alone.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis import compare

TOP_TRIALS = 5
TOP_SHARE = 0.1
"""The best tenth, but at least TOP_TRIALS, below which densities are mostly prior; never more than half."""
FEWEST_TRIALS = 4
ENOUGH_TRIALS = 20
STEPS = 50
"""Cells of the grid on which the density of a continuous parameter is compared."""
PRIOR = 1.0
"""Weight of the uninformed prior, in trials."""


@dataclass(frozen=True)
class Dimension:
    """One searched column: its `choices`, or a range from `low` to `high`."""

    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    step: float | None = None

    def cells(self, values: pd.Series) -> tuple[np.ndarray, int]:
        """Grid cell of each value, and how many cells there are."""
        if self.choices:
            return np.array([self.choices.index(value) for value in values], int), len(self.choices)
        scale = math.log if self.log else float
        low, high = scale(self.low), scale(self.high)
        count = min(STEPS, round((high - low) / self.step) + 1) if self.step and not self.log else STEPS
        places = (np.array([scale(value) for value in values]) - low) / (high - low) * (count - 1)
        return np.ceil(places - 0.5).clip(0, count - 1).astype(int), count


def importance(trials: pd.DataFrame) -> pd.DataFrame:
    """Columns `parameter`, `importance` (adding up to 1), `trials` (how many have it); most important first.

    Over the searched trials that ended with a score. Empty where there are fewer than FEWEST_TRIALS.
    """
    searched = _searched(trials)
    columns = ["parameter", "importance", "trials"]
    if len(searched) < FEWEST_TRIALS:
        return pd.DataFrame(columns=columns)
    top = compare.ranked(searched).index[: _top_count(len(searched))]
    found = {name: _share(searched[name], top, dimension) for name, dimension in dimensions(searched).items()}
    total = sum(found.values())
    rows = [(name, value / (total or 1.0), int(searched[name].notna().sum())) for name, value in found.items()]
    return pd.DataFrame(rows, columns=columns).sort_values("importance", ascending=False, ignore_index=True)


def warning(trials: pd.DataFrame) -> str:
    """Why the numbers should not be trusted, as a sentence; empty where they may be."""
    count = len(_searched(trials))
    if count < FEWEST_TRIALS:
        return f"{count} searched trials have a score: importance needs at least {FEWEST_TRIALS}."
    return f"Only {count} searched trials have a score: a hint, not a finding." if count < ENOUGH_TRIALS else ""


def dimensions(trials: pd.DataFrame) -> dict[str, Dimension]:
    """What was searched over, by column: from the study's search space, else from the values that were tried."""
    search = trials.attrs.get("study", {}).get("spec", {}).get("search") or {}
    declared = {name: value for name, value in search.items() if name != "loss"}
    for loss in dict(search.get("loss", {})).values():
        declared |= {f"loss_{name}": value for name, value in loss.items()}
    varied = compare.varied(trials)
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
    metric = compare.objective(trials).metric
    ended = trials["state"].isin(compare.ENDED_WITH_SCORE) & trials[metric].notna()
    return trials[(trials["source"] == compare.SEARCH) & ended]


def _top_count(count: int) -> int:
    return min(max(TOP_TRIALS, math.ceil(TOP_SHARE * count)), count // 2)


def _share(values: pd.Series, top: pd.Index, dimension: Dimension) -> float:
    """Unnormalised importance: the Pearson divergence between the best trials' density and all trials' density."""
    having = values.dropna()
    having_top = having[having.index.isin(top)]
    if len(having) < 2 or having_top.empty or len(dimension.choices) == 1:
        return 0.0
    weight = (len(having_top) / len(top)) ** 2 / (len(having) / len(values))
    density_top, density_all = (_density(part, dimension) + 1e-12 for part in (having_top, having))
    return weight * float(density_all @ (density_top / density_all - 1) ** 2)


def _density(values: pd.Series, dimension: Dimension) -> np.ndarray:
    """Parzen estimate on the dimension's grid, a prior included; adds up to 1."""
    cells, count = dimension.cells(values)
    if dimension.choices:
        return _density_of_choices(np.bincount(cells, minlength=count))
    return _density_of_numbers(np.bincount(cells, minlength=count))


def _density_of_choices(counts: np.ndarray) -> np.ndarray:
    seen = np.flatnonzero(counts)
    kernels = len(seen) + 1
    weights = np.full((kernels, len(counts)), PRIOR / kernels)
    weights[np.arange(len(seen)), seen] += 1
    return _mixture(weights / weights.sum(axis=1, keepdims=True), counts[seen])


def _density_of_numbers(counts: np.ndarray) -> np.ndarray:
    """Discrete normal kernels cut off at the ends of the grid, their width by Scott's rule (Scott 1992)."""
    seen = np.flatnonzero(counts)
    centres = np.append(seen, (len(counts) - 1) / 2)[:, None]
    widths = np.append(np.full(len(seen), _scott_width(seen, counts[seen])), len(counts))[:, None]
    edges = _normal_cdf((np.arange(len(counts) + 1) - 0.5 - centres) / widths)
    kernels = np.diff(edges, axis=1) / (edges[:, -1:] - edges[:, :1])
    return _mixture(kernels, counts[seen])


def _scott_width(seen: np.ndarray, weights: np.ndarray) -> float:
    """In cells; at least so wide that 90 % of a kernel lie in its own cell."""
    total, cumulated = weights.sum(), weights.cumsum()
    mean = seen @ weights / total
    deviation = math.sqrt((seen - mean) ** 2 @ weights / max(1, total - 1))
    first = np.searchsorted(cumulated, total // 4, side="left")
    third = min(len(seen) - 1, np.searchsorted(cumulated, total * 3 // 4, side="right"))
    return max(1.059 * min((seen[third] - seen[first]) / 1.34, deviation) * total**-0.2, 0.5 / 1.64)


def _mixture(kernels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean of the kernels; the last one is the prior."""
    all_weights = np.append(weights, PRIOR)
    return all_weights / all_weights.sum() @ kernels


def _normal_cdf(values: np.ndarray) -> np.ndarray:
    return np.array([[0.5 * math.erfc(-value / math.sqrt(2)) for value in row] for row in values])
