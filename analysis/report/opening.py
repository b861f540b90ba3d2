"""The report's opening: whether the study's result is good, and what it is compared with.

A study that has ended keeps its verdict in study.json, see study.driver.verdict. Before that, and for older studies,
the best trial so far is compared with predictions without training, on the validation images.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from analysis import ranking
from analysis.ranking import Results
from analysis.scores import classes
from analysis.scores.definitions import IMAGE_IOU
from analysis.scores.labels import label, labels
from analysis.scores.ratios import sums
from analysis.scores.uncertainty import interval
from study.store.records import RECIPE, untrained

MAX_MARKS = 10
"""The number of scores beside the choice's, best first. More do not help to judge it."""
SHOWN, UNTRAINED = "shown", "untrained"
"""Kinds of a mark, in addition to those of baselines (ranking.kinds) and `search`."""


@dataclass(frozen=True)
class Mark:
    """A score from 0 to 1 on the axis that all marks share."""

    name: str
    kind: str
    score: float
    low: float | None = None
    high: float | None = None
    """`low` and `high` are the ends of the 95 % interval over the images, if known."""


@dataclass(frozen=True)
class Verdict:
    trial: int | None
    """The study's choice, or the best trial so far; None if no trial has finished."""
    final: bool
    """Whether the study has made its choice."""
    headline: str
    sentences: list[str]
    warnings: list[str]
    doubtful: bool
    """Whether the score may be no better than the one without training."""
    metric: str
    where: str
    """The images that the marks are measured on."""
    marks: list[Mark]
    """The choice or the best trial first, the score without training last."""


def verdict(info: dict[str, Any], results: Results, counts: pd.DataFrame | None) -> Verdict:
    """Return the study's final verdict, or a preliminary one on the best trial so far.

    `info`: study.json. `counts`: the validation counts of the trial `results.shown`, None if they are not kept.
    """
    given = info.get("verdict")
    found = _so_far(info, results, counts)
    if given is None:
        return found
    tested = "score" in given
    if tested:
        images = info["dataset"]["images"]["test"]
        found = replace(
            found,
            doubtful=given["over_trivial"]["low"] <= 0,
            metric=label(f"test_{given['metric']}"),
            where=f"the {images} sealed test images, at their own size",
            marks=_tested(given, results),
        )
    return replace(
        found,
        trial=given["trial"],
        final=True,
        headline=given["sentences"][0],
        sentences=[*given["sentences"][1:], *_leader(given, results), *_details(results, given["trial"])],
        warnings=[*given["warnings"], *_outdated(info)],
    )


def _outdated(info: dict[str, Any]) -> Iterator[str]:
    if not info["finished"]:
        yield "this is the verdict before the study went on; there will be another one at its end"


def _leader(given: dict[str, Any], results: Results) -> Iterator[str]:
    """Yield a sentence if another trial than the choice has the best validation score."""
    leader, metric = results.best, results.objective.metric
    if leader is not None and leader["trial"] != given["trial"]:
        yield f"Trial {leader['trial']} has the best {labels(results.trials)(metric)}, {leader[metric]:.4f}."


def _tested(given: dict[str, Any], results: Results) -> list[Mark]:
    """Return the marks measured on the test images, at their own size."""
    column = f"test_native_{given['metric']}"
    name = f"the recipe, trial {given['trial']}" if given["recipe"] else f"trial {given['trial']}, the choice"
    first = Mark(name, SHOWN, given["score"], given["low"], given["high"])
    others = results.trials[results.trials["trial"] != given["trial"]]
    others = others[others[column].notna()] if column in others else others[:0]
    others = [*_baselines(others, column), *_best_by_validation(others, results.best, column)]
    last = Mark(f"no training: {given['trivial']}", UNTRAINED, given["trivial_score"])
    return [first, *_best_first(others), last]


def _best_first(marks: list[Mark]) -> list[Mark]:
    return sorted(marks, key=lambda mark: -mark.score)[:MAX_MARKS]


def _baselines(trials: pd.DataFrame, column: str) -> Iterator[Mark]:
    kinds, names = ranking.kinds(trials), ranking.names(trials)
    for row in ranking.baselines(trials).to_dict("records"):
        yield Mark(names[row["source"]], kinds[row["source"]], float(row[column]))


def _best_by_validation(others: pd.DataFrame, leader: pd.Series | None, column: str) -> Iterator[Mark]:
    if leader is not None and leader["source"] == ranking.SEARCH:
        for score in others.loc[others["trial"] == leader["trial"], column]:
            yield Mark(f"trial {leader['trial']}, the best in validation", ranking.SEARCH, float(score))


def _so_far(info: dict[str, Any], results: Results, counts: pd.DataFrame | None) -> Verdict:
    trials, leader, aim = results.trials, results.shown, results.objective
    none = Verdict(None, False, "No trial has begun yet.", [], [], False, labels(trials)(aim.metric), "", [])
    if leader is None:
        return replace(none, headline="No trial has finished yet.") if len(trials) else none
    trivial = untrained(info, aim.metric)
    metric = aim.metric if trivial or aim.metric != "val_loss" else "val_iou"
    trivial = trivial or untrained(info, metric)
    bounds = _interval(counts) if metric == "val_iou" else None
    finished = trials[(trials["state"] == "COMPLETE") & trials[metric].notna()]
    name = ranking.names(trials).get(leader["source"], f"trial {leader['trial']}")
    marks = [Mark(name, SHOWN, float(leader[metric]), *(bounds or ()))]
    marks += _best_first([*_baselines(finished[finished["trial"] != leader["trial"]], metric)])
    if trivial:
        marks.append(Mark(f"no training: {trivial[0]}", UNTRAINED, trivial[1]))
    return replace(
        none,
        trial=int(leader["trial"]),
        headline=_headline(trials, leader),
        sentences=[*_scores(results, leader, bounds, counts), *_beside(results, leader, metric, trivial)],
        doubtful=trivial is not None and (bounds[0] if bounds else float(leader[metric])) <= trivial[1],
        metric=labels(trials)(metric),
        where=f"the {info['dataset']['images']['val']} validation images, at training size",
        marks=marks if len(marks) > 1 else [],
    )


def _headline(trials: pd.DataFrame, leader: pd.Series) -> str:
    kind = ranking.kinds(trials).get(leader["source"])
    who = {None: f"Trial {leader['trial']} of the search", RECIPE: f"The recipe (trial {leader['trial']})"}
    subject = who.get(kind) or f"Trial {leader['trial']}, {ranking.names(trials)[leader['source']]},"
    return f"{subject} leads: {leader['model']} trained with {leader['loss']}."


def _interval(counts: pd.DataFrame | None) -> tuple[float, float] | None:
    """Return the interval of the mean IoU over the images; None without counts or with more than two classes."""
    return None if counts is None or counts["class"].max() != 1 else interval(sums(counts), IMAGE_IOU)


def _scores(
    results: Results, leader: pd.Series, bounds: tuple[float, float] | None, counts: pd.DataFrame | None
) -> Iterator[str]:
    trials, said, metric = results.trials, labels(results.trials), results.objective.metric
    spread = ""
    if bounds and counts is not None:
        low, high = bounds
        images = counts["id"].nunique()
        spread = f" (95 % interval of the mean IoU over {images} images: {low:.3f} to {high:.3f})"
    yield f"{said(metric)} {leader[metric]:.4f} at epoch {leader['best_epoch']} of {leader['epochs']}{spread}."
    if "test_iou" in trials and pd.notna(leader["test_iou"]):
        native = f", {leader['test_native_iou']:.4f} at the masks' own size" if "test_native_iou" in trials else ""
        yield f"On the sealed test split: IoU {leader['test_iou']:.4f} at training size{native}."


def _beside(results: Results, leader: pd.Series, metric: str, trivial: tuple[str, float] | None) -> Iterator[str]:
    """Yield the sentences that compare the leader with the score without training and with baselines.

    The baselines are the best of each kind: the recipe, published configurations, and the user's own. The sentences of
    `_details` follow.
    """
    if trivial:
        more = float(leader[metric]) - trivial[1]
        than = f"{more:.4f} less" if more > 0 else "which is no worse"
        yield f"Without any training: {labels(results.trials)(metric)} {trivial[1]:.4f} ({trivial[0]}), {than}."
    objective = results.objective.metric
    rivals = ranking.baselines(results.ranked).dropna(subset=[objective])
    kinds = ranking.kinds(results.trials)
    rivals = rivals[rivals["trial"] != leader["trial"]]
    for kind, words in WORDS.items():
        for row in rivals[rivals["source"].map(kinds) == kind].head(1).to_dict("records"):
            yield f"{words.format(row['source'])} {row[objective]:.4f} in this study."
    yield from _details(results, int(leader["trial"]))


WORDS = {
    RECIPE: "The recipe reaches",
    ranking.PUBLISHED: "The best published configuration, {}, reaches",
    ranking.OWN: "The best baseline of your own, {}, reaches",
}


def _details(results: Results, trial: int) -> Iterator[str]:
    said, ranked = labels(results.trials), results.ranked
    if "pareto" in ranked:
        front = ", ".join(map(str, ranked.loc[ranked["pareto"], "trial"]))
        aims = ", ".join(f"{aim.mode} {said(aim.metric)}" for aim in results.objectives)
        yield f"The Pareto set of {aims}: trials {front}."
    if hardest := classes.worst(results.trials, trial):
        yield f"The hardest class is {hardest[0]}, val IoU {hardest[1]:.4f}."
