"""Values of the choice that a study compares, held against each other: the numbers, and sentences about them."""

import dataclasses
import math

import numpy as np
import pandas as pd

from analysis import compare
from analysis.measures import labels
from study import best_of
from study.best_of import Ended, Standing, Value

MOST_POINTS = 200
"""Of a line, about."""


class NothingCompared(ValueError):
    """The study compares nothing. The message is one line."""


def choice(trials: pd.DataFrame) -> str:
    """The column whose values the study compares; empty where it compares nothing."""
    return str(trials.attrs.get("study", {}).get("spec", {}).get("compare") or "")


def standings(trials: pd.DataFrame) -> list[Standing]:
    """Of each value, best first. Of searched trials that have ended; none where nothing is compared, or none has."""
    return best_of.standings(_groups(trials), compare.objective(trials).mode)


def table(trials: pd.DataFrame) -> pd.DataFrame:
    """One row a value, best first: the value, then the fields of study.best_of.Standing, `best` by the name of its
    score. NothingCompared where there is no such choice."""
    if not choice(trials):
        raise NothingCompared("--compare: this study compares nothing; in a spec, `compare: model` makes one that does")
    names = {"value": choice(trials), "best": compare.objective(trials).metric}
    fields = [field.name for field in dataclasses.fields(Standing)]
    rows = [dataclasses.asdict(one) for one in standings(trials)]
    return pd.DataFrame(rows, columns=fields).rename(columns=names)


def curves(trials: pd.DataFrame) -> pd.DataFrame:
    """What the best of so many trials may be expected to be: `value`, `trials` from 1 to as many as the value has,
    `expected`, and `low` and `high`, between which 95 % of the bests lie; see study.best_of."""
    mode = compare.objective(trials).mode
    up = best_of.upwards(mode)
    rows = []
    for value, scores in best_of.scores_by_value(_groups(trials), mode).items():
        for draws in _draws(len(scores)):
            low, high = sorted(up * bound for bound in best_of.interval(scores, draws))
            rows.append((value, draws, up * best_of.expected(scores, draws), low, high))
    return pd.DataFrame(rows, columns=["value", "trials", "expected", "low", "high"])


def sentences(trials: pd.DataFrame) -> list[str]:
    """What each value's best is, and how easily the order could be luck; none where nothing is compared."""
    found, metric = standings(trials), labels(trials)(compare.objective(trials).metric)
    if not found:
        return []
    said = [_sentence(one, metric) for one in found]
    draws = "The line is the best that so many trials may be expected to find (Dodge et al. 2019), the band 95 % of it."
    return [*said, draws, "A search that learns makes the bands too narrow, and luck look rarer than it is."]


def _sentence(one: Standing, metric: str) -> str:
    best = f"{one.value}: {metric} {one.best:.4f} (trial {one.trial}) of {one.trials} trials"
    failed = f", {one.failed} of them failed" if one.failed else ""
    spread = f"; the best of {one.draws} lies in {one.low:.4f}–{one.high:.4f} with 95 %"
    if math.isnan(one.luck):
        return f"{best}{failed}{spread}."
    return f"{best}{failed}{spread}, and the chance that it is behind by bad luck alone is {one.luck:.2g}."


def _groups(trials: pd.DataFrame) -> dict[Value, list[Ended]]:
    """The ended trials of each value. What failed trials reached is no score."""
    if not (name := choice(trials)):
        return {}
    score = trials[compare.objective(trials).metric].where(trials["state"].isin(compare.ENDED_WITH_SCORE))
    ended = trials.assign(score=score.astype(float))
    ended = ended[(trials["source"] == compare.SEARCH) & (trials["state"] != "RUNNING")]
    groups: dict[Value, list[Ended]] = {}
    for row in ended.to_dict("records"):
        found = None if math.isnan(row["score"]) else row["score"]
        groups.setdefault(row[name], []).append((row["trial"], found))
    return groups


def _draws(trials: int) -> list[int]:
    """1 to `trials`, or as many of these as a line needs."""
    return sorted({*range(1, min(trials, 50) + 1), *np.geomspace(1, trials, MOST_POINTS).round().astype(int).tolist()})
