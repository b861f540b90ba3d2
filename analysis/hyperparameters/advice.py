"""Findings from a study's trials about its search space, and what to change in the spec for each."""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pandas as pd

from analysis import ranking
from analysis.hyperparameters.importance import Dimension, dimensions
from analysis.ranking import text
from seg.options import hyperparameter

MIN_TRIALS = 10
"""The fewest searched trials with a score that say more than chance does."""
TOP = 3
EDGE = 0.1
"""The share of a range, at either end, that counts as its edge.

By chance, the three best trials all lie at the same edge in 2 of 1000 studies.
"""
GAP = 0.35
"""The share of a range that counts as a gap if no trial lies in it."""
SELDOM = 3
BROKEN_SHARE = 0.1
LATE_SHARE = 0.95
"""The share of the training time, at its end, without a better score.

By chance alone, one random search in 20 has that.
"""
RISE = 1.1
"""The ratio to its lowest value at which a validation loss counts as rising."""


@dataclass(frozen=True)
class Advice:
    about: str
    """The key of the spec that the finding is about."""
    finding: str
    change: str

    @property
    def sentence(self) -> str:
        return f"{self.finding}. Try {self.change}."


def advice(trials: pd.DataFrame, epochs: pd.DataFrame) -> list[Advice]:
    """Return what to change, most pressing first; `trials` and `epochs` as `analysis.load` returns them."""
    trials = ranking.originals(trials)
    searched = trials[trials["source"] == ranking.SEARCH]
    searched.attrs = trials.attrs
    found = [*_broken(searched), *_too_few(searched)]
    if len(_scored(searched)) >= MIN_TRIALS:
        for look in (_at_a_bound, _gaps, _seldom, _duplicates, _late):
            found += look(searched)
        found += _still_rising(searched, epochs)
    return [*found, *_curves(trials, epochs)]


def _scored(trials: pd.DataFrame) -> pd.DataFrame:
    metric = ranking.objective(trials).metric
    scored = trials[trials["state"].isin(ranking.ENDED_WITH_SCORE) & trials[metric].notna()]
    scored.attrs = trials.attrs
    return scored


def _broken(trials: pd.DataFrame) -> Iterator[Advice]:
    ended = trials[trials["state"] != "RUNNING"]
    for state, remedy in (
        ("FAILED", "narrow what they share, after `python -m study.ls` has said why"),
        ("INFEASIBLE", "smaller `search.batch_size`, `image_size` or models fit"),
    ):
        broken = ended["state"] == state
        if broken.sum() < 2 or broken.mean() < BROKEN_SHARE:
            continue
        shared = _shared(ended, broken)
        which = f", {shared[1]} of them with {shared[0]}" if shared else ""
        yield Advice(
            shared[0].split()[0] if shared else "trials",
            f"{broken.sum()} of {len(ended)} searched trials are {state}{which}",
            remedy,
        )


def _shared(ended: pd.DataFrame, broken: pd.Series) -> tuple[str, int] | None:
    """Return the choice that most broken trials made and few others (`model unet`), and how many made it."""
    best: tuple[float, str, int] | None = None
    for name, dimension in dimensions(ended).items():
        for value in dimension.choices:
            having = (ended[name] == value).fillna(False)
            count, among = int((having & broken).sum()), having[broken].mean()
            lift = among - having[~broken].mean() if (~broken).any() else 0.0
            if among >= 0.8 and lift > 0.4 and (best is None or lift > best[0]):
                best = (lift, f"{name} {text(value)}", count)
    return best and best[1:]


def _too_few(trials: pd.DataFrame) -> Iterator[Advice]:
    choices, count = len(dimensions(trials)), len(_scored(trials))
    if choices and 0 < count < 5 * choices and not (trials["state"] == "RUNNING").any():
        yield Advice(
            "trials",
            f"{count} trials are few for {choices} choices searched at once",
            f"{10 * choices} `trials`, or fewer keys under `search`",
        )


def _at_a_bound(trials: pd.DataFrame) -> Iterator[Advice]:
    finished = _scored(trials)
    finished = finished[finished["state"] == "COMPLETE"]
    finished.attrs = trials.attrs
    for name, dimension in _numbers(trials).items():
        top = ranking.ranked(finished.dropna(subset=[name])).head(TOP)[name]
        places = top.map(_place(dimension))
        for side, bound, at_end in (
            (1, dimension.high, places >= 1 - EDGE),
            (-1, dimension.low, places <= EDGE),
        ):
            further = _beyond(name, dimension, side)
            if len(top) == TOP and at_end.all() and further != bound:
                end, verb, key = ("upper", "a higher", "high") if side > 0 else ("lower", "a lower", "low")
                yield Advice(
                    name,
                    f"{name}: the {TOP} best trials lie at the {end} bound, {text(bound)}",
                    f"{verb} `{_key(name)}.{key}`, {text(further)} say",
                )


def _beyond(name: str, dimension: Dimension, side: int) -> float:
    """Return a bound half a range further out (a decade if logarithmic), within what a spec allows."""
    bound = dimension.high if side > 0 else dimension.low
    further = bound * 10.0**side if dimension.log else bound + side * (dimension.high - dimension.low) / 2
    allowed = hyperparameter(name)
    clipped = min(max(further, allowed.low), allowed.high) if allowed else further
    return float(round(clipped)) if dimension.step and dimension.step >= 1 else clipped


def _gaps(trials: pd.DataFrame) -> Iterator[Advice]:
    for name, dimension in _numbers(trials).items():
        tried = sorted({0.0, 1.0, *trials[name].dropna().map(_place(dimension))})
        if len(tried) < MIN_TRIALS or dimension.step:
            continue
        width, low = max((high - low, low) for low, high in itertools.pairwise(tried))
        if width > GAP:
            span = f"{text(_value(dimension, low))} and {text(_value(dimension, low + width))}"
            yield Advice(
                name,
                f"{name}: no trial lies between {span}, {width:.0%} of the range",
                f"more `trials`, or a narrower `{_key(name)}`",
            )


def _seldom(trials: pd.DataFrame) -> Iterator[Advice]:
    ended = trials[trials["state"] != "RUNNING"]
    declared = trials.attrs.get("study", {}).get("spec", {}).get("search") or {}
    for name, dimension in dimensions(trials).items():
        values = declared.get(name)
        listed = list(values) if isinstance(values, list | dict) and name in ("model", "loss") else dimension.choices
        rare = [(value, int((ended[name] == value).sum())) for value in listed]
        rare = [(value, count) for value, count in rare if count < SELDOM]
        if rare and len(rare) < len(listed):
            said = ", ".join(f"{text(value)} in {count}" for value, count in rare)
            yield Advice(
                name,
                f"{name}: of {len(ended)} trials, only few tried {said}: nothing can be said of it",
                f"more `trials`, or `{_key(name)}` without it",
            )


def _duplicates(trials: pd.DataFrame) -> Iterator[Advice]:
    names = [*ranking.hyperparameters(trials), *(["seed"] if "seed" in trials else [])]
    again = trials[trials.duplicated(names, keep="first")]
    if len(again):
        numbers = ", ".join(str(number) for number in again["trial"].head(5))
        yield Advice(
            "trials",
            f"{_count(len(again), 'trial')} ({numbers}) repeated an earlier configuration, seed included",
            "fewer `trials`, or more values under `search`",
        )


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _late(trials: pd.DataFrame) -> Iterator[Advice]:
    """Yield advice on time spent after the best trial ended, and on training the worse half to the end."""
    steps = ranking.history(trials)
    best = steps["best"]
    if best.notna().any():
        since = steps[best == best.iloc[-1]].iloc[0]
        left = 1 - since["seconds"] / max(float(steps["seconds"].iloc[-1]), 1e-9)
        if left > LATE_SHARE and len(steps) - since["ended"] >= MIN_TRIALS:
            yield Advice(
                "trials",
                f"The last {len(steps) - since['ended']} trials, {left:.0%} of the time, found nothing better",
                "fewer `trials`, or a wider `search`",
            )
    pruned = (trials["state"] == "PRUNED").any()
    spec = trials.attrs.get("study", {}).get("spec", {})
    stopping = (spec.get("early_stopping") or {}).get("scheduler", "none")
    if not pruned and stopping == "none" and trials["epochs"].max() >= 8 and len(steps) >= 2 * MIN_TRIALS:
        metric, ascending = ranking.objective(trials).metric, ranking.objective(trials).ascending
        worse = trials[metric] > trials[metric].median() if ascending else trials[metric] < trials[metric].median()
        share = trials.loc[worse, "train_seconds"].sum() / max(trials["train_seconds"].sum(), 1e-9)
        yield Advice(
            "early_stopping",
            f"The worse half of the trials took {share:.0%} of the training time, to their last epochs",
            "`early_stopping: {scheduler: asha}`",
        )


def _still_rising(trials: pd.DataFrame, epochs: pd.DataFrame) -> Iterator[Advice]:
    """Yield advice on schedules whose learning rates rise at first, such as one_cycle.

    A trial that is judged while its rate still rises looks worse than it would have ended.
    """
    if "schedule" not in dimensions(trials):
        return
    stopped = trials.loc[trials["state"] == "PRUNED", "trial"]
    rates = epochs[epochs["trial"].isin(stopped)].sort_values("epoch").groupby("trial")["decoder_lr"]
    rose = rates.last()[(rates.last() == rates.max()) & (rates.last() > rates.first())].index
    rising = trials[trials["trial"].isin(rose)]
    for schedule, early in rising.groupby("schedule", observed=True):
        yield Advice(
            "schedule",
            f"schedule: {len(early)} of {(trials['schedule'] == schedule).sum()} trials with {schedule} were stopped "
            "while their rates still rose, judged beside others whose do not",
            f"`early_stopping.min_epochs: {int(early['epochs'].max()) + 1}` or more, or one `search.schedule`",
        )


def _curves(trials: pd.DataFrame, epochs: pd.DataFrame) -> Iterator[Advice]:
    leader = ranking.best(trials)
    if leader is None:
        return
    curve = epochs[epochs["trial"] == leader["trial"]].sort_values("epoch")
    last, number = len(curve), int(leader["trial"])
    curve = curve.dropna(subset=["train_loss", "val_loss"])
    if len(curve) < 5:
        return
    lowest = curve.loc[curve["val_loss"].idxmin()]
    ends = curve.iloc[-1]
    falling = ends["train_loss"] < lowest["train_loss"]
    if lowest["epoch"] <= 0.6 * last and ends["val_loss"] > RISE * lowest["val_loss"] and falling:
        yield Advice(
            "epochs",
            f"Trial {number}, the best, overfits: its validation loss rises from epoch {int(lowest['epoch'])} of "
            f"{last} on, while its training loss falls",
            f"`epochs: {min(last, math.ceil(1.5 * lowest['epoch']))}`, more under `augment`, or `weight_decay`",
        )
    finished = ranking.ranked(trials[trials["state"] == "COMPLETE"]).head(TOP)
    if len(finished) == TOP and (finished["best_epoch"] == finished["epochs"]).all():
        yield Advice(
            "epochs",
            f"The {TOP} best trials were best at their last epoch: they were still learning",
            f"`epochs: {2 * last}`",
        )


def _numbers(trials: pd.DataFrame) -> dict[str, Dimension]:
    """Return the choices from a numeric range that the spec declares."""
    search = trials.attrs.get("study", {}).get("spec", {}).get("search") or {}
    found = dimensions(trials)
    of_losses = {f"loss_{name}" for loss in dict(search.get("loss") or {}).values() for name in loss}
    return {name: of for name, of in found.items() if not of.choices and (name in search or name in of_losses)}


def _place(dimension: Dimension) -> Callable[[float], float]:
    """Return a function that maps a value to its position, from 0 to 1 between the bounds."""
    scale: Callable[[float], float] = math.log if dimension.log else float
    low, high = scale(dimension.low), scale(dimension.high)
    return lambda value: (scale(value) - low) / ((high - low) or 1.0)


def _value(dimension: Dimension, place: float) -> float:
    """Return the value at a position; this is the inverse of `_place`."""
    if dimension.log:
        return float(dimension.low * (dimension.high / dimension.low) ** place)
    return dimension.low + place * (dimension.high - dimension.low)


def _key(name: str) -> str:
    """Return the key of a choice in the spec; a loss's parameters are below their loss."""
    return f"search.loss.*.{name.removeprefix('loss_')}" if name.startswith("loss_") else f"search.{name}"
