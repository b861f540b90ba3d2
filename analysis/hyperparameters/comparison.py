"""A comparison of the values of one choice that a study names: the numbers, and sentences about them."""

import dataclasses
import math

import numpy as np
import pandas as pd

from analysis import ranking
from analysis.scores.labels import labels
from seg.cli import UserError
from study.ranking import expected_best
from study.ranking.expected_best import Ended, Standing, Value

MAX_POINTS = 200
"""The approximate maximum number of points on a line."""


class NothingCompared(UserError):
    """The error of a study that compares nothing; its message is one line."""


def choice(trials: pd.DataFrame) -> str:
    """Return the column whose values the study compares, or an empty string if it compares nothing."""
    return str(trials.attrs.get("study", {}).get("spec", {}).get("compare") or "")


def standings(trials: pd.DataFrame) -> list[Standing]:
    """Return the standing of each value, best first, over the searched trials that have ended.

    The list is empty if nothing is compared, or no such trial has a score.
    """
    return expected_best.standings(_groups(trials), ranking.objective(trials).mode)


def table(trials: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each value, best first.

    The columns are the fields of study.ranking.expected_best.Standing, with `value` named after the choice and `best`
    after its score. Raises NothingCompared if the study compares nothing.
    """
    if not choice(trials):
        raise NothingCompared("--compare: this study compares nothing; in a spec, `compare: model` makes one that does")
    names = {"value": choice(trials), "best": ranking.objective(trials).metric}
    fields = [field.name for field in dataclasses.fields(Standing)]
    rows = [dataclasses.asdict(one) for one in standings(trials)]
    return pd.DataFrame(rows, columns=fields).rename(columns=names)


def curves(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the expected best score of each value after a number of trials.

    Columns: `value`, `trials` (from 1 to as many as the value has), `expected`, `low`, and `high`. Between the last two
    lie 95 % of the bests. See study.ranking.expected_best.
    """
    mode = ranking.objective(trials).mode
    up = expected_best.upwards(mode)
    rows = []
    for value, scores in expected_best.scores_by_value(_groups(trials), mode).items():
        for draws in _draws(len(scores)):
            low, high = sorted(up * bound for bound in expected_best.interval(scores, draws))
            rows.append((value, draws, up * expected_best.expected(scores, draws), low, high))
    return pd.DataFrame(rows, columns=["value", "trials", "expected", "low", "high"])


def sentences(trials: pd.DataFrame) -> list[str]:
    """Return sentences on the best of each value, and on how easily the order could be luck.

    The list is empty if nothing is compared.
    """
    found, metric = standings(trials), labels(trials)(ranking.objective(trials).metric)
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
    """Return the ended trials of each value; a failed trial has no score, whatever it reached."""
    if not (name := choice(trials)):
        return {}
    score = trials[ranking.objective(trials).metric].where(trials["state"].isin(ranking.ENDED_WITH_SCORE))
    ended = trials.assign(score=score.astype(float))
    ended = ended[(trials["source"] == ranking.SEARCH) & (trials["state"] != "RUNNING")]
    groups: dict[Value, list[Ended]] = {}
    for row in ended.to_dict("records"):
        found = None if math.isnan(row["score"]) else row["score"]
        groups.setdefault(row[name], []).append((row["trial"], found))
    return groups


def _draws(trials: int) -> list[int]:
    """Return the numbers from 1 to `trials`, or as many of them as a line needs."""
    return sorted({*range(1, min(trials, 50) + 1), *np.geomspace(1, trials, MAX_POINTS).round().astype(int).tolist()})
