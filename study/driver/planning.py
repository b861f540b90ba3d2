"""Choose what a spec leaves open, so that the study fits its budget, uses it, and trains the recipe in full.

It chooses image size, epochs, the first rung, trials, finalists and their seeds, and which published configurations
take part. The choices follow from the seconds that a training image takes (study.driver.timing) and the number of
images. How image size is weighed against the length of training comes from the experiments in analysis/results/recipe.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from seg import models
from seg.cli import duration
from seg.experiment import Experiment
from study.lanes.resources import Allotment, Cluster
from study.search.schedulers.asha import Hyperband
from study.search.schedulers.scheduler import milestones
from study.spec import Spec, conditions
from study.spec.budget import Budget, parse
from study.spec.conditions import comparable
from study.spec.spec import MAX_GP_TRIALS, Baseline
from study.store.records import RECIPE, price

SIZES = (128, 160, 192, 224, 256, 320, 384, 448, 512)
"""The image sizes to choose from, in pixels."""
DEFAULT_SIZE = 192
ENOUGH_PX = 192
"""The image size, in pixels, that matters more than a search: if both do not fit, the recipe gets the whole budget."""
FULL_STEPS, FULL_EPOCHS = 400, 15
"""The optimiser steps and epochs after which the recipe gains more from larger images than from further training."""
LONGEST = 1.5
"""The longest training of the recipe, as a multiple of its full length, at the largest size that is worth it."""
RECIPE_SHARE, ALONE_SHARE = 0.42, 0.9
"""The recipe's share of a lane's time: beside a search, so that a full trial fits as well, and without a search."""
MEDIAN_SHARE = 0.6
"""The average time of a searched trial under the median rule, as a share of a full trial's time."""
PUBLISHED_SHARE = 1 / 3
"""The largest share of the time left by the recipe that published configurations may take."""
REPEATED_TRIALS = 12
"""The full trials that must fit beside the recipe before the finalists are trained with a second seed."""
MAX_TRIALS = 10_000
SPARE = 2.0
"""The most searched trials, as a multiple of the expected number: training may be faster than it was timed."""
MIN_SPARE_TRIALS = 6
RUNG_SHARE = 1 / 8
"""The smallest share of a trial's epochs that comes before its first rung."""

EPOCH_SECONDS = 0.15
"""Seconds that each epoch takes beside its images: messages, counts, a checkpoint."""
START_SECONDS = 30.0
"""Seconds from the plan to the first step of the first trial: packing a small dataset, starting Ray and one lane."""
OWN_START_SECONDS = 5.0
"""The same without Ray, with the lane in this process."""
END_SECONDS = 15.0
"""Seconds after the last trial for records, verdict, and report. Scoring is counted separately."""
READ_SECONDS = 0.02
"""Seconds to read an image at its native size. Resizing probabilities to that size takes as long."""
MARGIN = 0.95
"""The share of the time left for training that the plan uses: a busy machine is slower than when it was timed."""

Pace = Callable[[Experiment], float]
"""A function that returns the seconds that a training image takes in an experiment, on one lane."""


@dataclass(frozen=True)
class Situation:
    """The data and machines that a study is planned for."""

    images: Mapping[str, int]
    """The number of images of each split."""
    side: int
    """The shorter side of a typical image, in pixels."""
    allotment: Allotment
    cluster: Cluster
    pace: Pace
    elapsed_seconds: float = 0.0
    """Seconds since the command was typed, plus those that earlier sessions used."""


@dataclass(frozen=True)
class Planned:
    spec: Spec
    """The spec with nothing left open."""
    full_seconds: float
    """Seconds of one trial of the recipe, or of a typical trial if there is no recipe."""
    search_seconds: float
    """Wall time of all trials in seconds, if each stops as early as expected."""
    reserved_seconds: float
    """Seconds of the budget that are kept for scoring the finalists and for the report."""
    remarks: tuple[str, ...]
    """Lines on what was chosen, why, and what a person may change."""
    left_out: tuple[str, ...] = ()
    """The baselines that do not fit the budget, each with its cost."""


def is_open(spec: Spec) -> bool:
    """Whether there is anything to plan."""
    return spec.budget is not None or not {"image_size", "epochs", "trials"} <= spec.model_fields_set


def plan(spec: Spec, at: Situation) -> Planned:
    """Return a plan that keeps what `spec` states and chooses what it leaves open.

    Without a budget, the plan is that of an evening's study.
    """
    reserved = ending_seconds(spec, at)
    # Larger images and more finalists take longer to score, and scoring must fit as well.
    while (planned := _plan(spec, at, reserved)).reserved_seconds > reserved and spec.budget:
        reserved = planned.reserved_seconds
    return planned


def _plan(spec: Spec, at: Situation, reserved_seconds: float) -> Planned:
    """Return a plan that keeps `reserved_seconds` of the budget for what follows the trials."""
    seconds = training_seconds(spec, at, reserved_seconds)
    lane_seconds = seconds / at.allotment.lanes if seconds else None
    sized = _sized(spec, at, lane_seconds)
    lengthened = _lengthened(sized, at, lane_seconds)
    chosen, left_out = _published(lengthened, at, seconds)
    chosen = with_rungs(_counted(chosen, at, seconds), at)
    full = full_seconds(chosen, at)
    search = _search_seconds(chosen, at, seconds)
    reserved = ending_seconds(chosen, at)
    return Planned(chosen, full, search, reserved, _remarks(spec, chosen, at, full, seconds), tuple(left_out))


def extend(spec: Spec, at: Situation, ended: int) -> Spec:
    """Return the spec of a study resumed after `ended` trials, with as many more as its larger budget holds."""
    seconds = training_seconds(spec, at, ending_seconds(spec, at))
    if seconds is None or spec.search is None:
        return spec
    more = _shared(spec, _searched(spec, seconds / full_seconds(spec, at)))
    return _with(spec, trials=max(spec.trials, ended + more))


def training_seconds(spec: Spec, at: Situation, reserved_seconds: float) -> float | None:
    """Return the seconds that the budget leaves for training, summed over the lanes; None without a budget."""
    if spec.budget is None:
        return None
    wall = 3600 * _hours(parse(spec.budget), spec, at) - at.elapsed_seconds - start_seconds(at) - reserved_seconds
    return max(wall, 1.0) * MARGIN * at.allotment.lanes


def start_seconds(at: Situation) -> float:
    return OWN_START_SECONDS if at.allotment.in_process else START_SECONDS


def _hours(budget: Budget, spec: Spec, at: Situation) -> float:
    """Return the hours that the budget lasts."""
    allotment = at.allotment
    hourly = {"hours": 1.0, "GPU-hours": allotment.lanes * allotment.workers * allotment.gpus_per_worker}
    if budget.unit == "usd":
        hourly["usd"] = sum(price(spec.resources.price_per_hour or {}, node.kind) for node in at.cluster.all)
    return budget.amount / hourly[budget.unit] if hourly[budget.unit] else math.inf


def ending_seconds(spec: Spec, at: Situation) -> float:
    """Return the seconds that scoring the finalists at native size and the report take."""
    seeds = spec.finalists.seeds
    finalists = min(len(spec.baselines) + spec.finalists.top * seeds, spec.trials * seeds)
    each = at.pace(typical(spec)) / 3 + READ_SECONDS
    return END_SECONDS + at.images["test"] * (READ_SECONDS + finalists * each)


def has_recipe(spec: Spec) -> bool:
    return any(one.name == RECIPE for one in spec.baselines)


def typical(spec: Spec) -> Experiment:
    """Return the recipe's experiment, or one that represents the study's trials if there is no recipe."""
    recipe = next((one for one in spec.baselines if one.name == RECIPE), None)
    if recipe is None and spec.search is not None:
        return conditions.determine(spec, conditions.first)
    return conditions.published(spec, recipe or spec.baselines[0])


def epoch_seconds(experiment: Experiment, at: Situation) -> float:
    """Return the seconds of an epoch.

    Validation has no backward pass: an image costs about a third of what it costs in training.
    """
    return at.pace(experiment) * (at.images["train"] + at.images["val"] / 3) + EPOCH_SECONDS


def full_seconds(spec: Spec, at: Situation) -> float:
    return spec.epochs * epoch_seconds(typical(spec), at)


def steps_per_epoch(experiment: Experiment, at: Situation) -> int:
    return math.ceil(at.images["train"] / experiment.batch_size)


def _full_epochs(spec: Spec, at: Situation) -> int:
    return max(math.ceil(FULL_STEPS / steps_per_epoch(typical(spec), at)), FULL_EPOCHS)


def _states(spec: Spec, name: str) -> bool:
    return name in spec.model_fields_set


def _with(spec: Spec, **values: object) -> Spec:
    return spec.model_copy(update=values)


def _sized(spec: Spec, at: Situation, lane_seconds: float | None) -> Spec:
    """Return the spec with the largest images on which the recipe can be trained in full in its share of the time.

    Sizes well above that of the images themselves are left out.
    """
    if _states(spec, "image_size"):
        return spec
    largest = max(at.side, SIZES[0]) + SIZES[0] // 4
    sizes = [size for size in SIZES if size <= largest and _taken(spec, size)] or [spec.image_size]
    if lane_seconds is None:
        return _with(spec, image_size=min(sizes, key=lambda size: abs(size - DEFAULT_SIZE)))
    epochs = spec.epochs if _states(spec, "epochs") else _full_epochs(spec, at)
    seconds = {size: epochs * epoch_seconds(typical(_with(spec, image_size=size)), at) for size in sizes}

    def fitting(share: float) -> int:
        return max((size for size in sizes if seconds[size] <= share * lane_seconds), default=sizes[0])

    at_ease = fitting(RECIPE_SHARE)
    return _with(spec, image_size=at_ease if at_ease >= min(ENOUGH_PX, sizes[-1]) else fitting(ALONE_SHARE))


def _taken(spec: Spec, size: int) -> bool:
    """Whether every model of the study can train on images of this size.

    The models were checked at the first of SIZES, so only the multiple that each requires is checked here.
    """
    return all(size % models.family(name).multiple == 0 for name in spec.models)


def _lengthened(spec: Spec, at: Situation, lane_seconds: float | None) -> Spec:
    """Return the spec with as many epochs as fill the recipe's share, up to LONGEST times its full length.

    If the full length does not fit beside a search, the recipe gets all the time.
    """
    if _states(spec, "epochs"):
        return spec
    full = _full_epochs(spec, at)
    if lane_seconds is None:
        return _with(spec, epochs=full)
    each = epoch_seconds(typical(spec), at)
    at_ease, alone = (int(share * lane_seconds / each) for share in (RECIPE_SHARE, ALONE_SHARE))
    return _with(spec, epochs=max(min(at_ease if at_ease >= full else alone, int(LONGEST * full)), 1))


def _published(spec: Spec, at: Situation, seconds: float | None) -> tuple[Spec, list[str]]:
    """Return the spec without the baselines for which the recipe leaves no time, and a list of these baselines.

    Published baselines may take only a share of that time. A spec that states which ones take part keeps them, as does
    the spec of a study that has begun.
    """
    if seconds is None or _states(spec, "published") or spec.search is None:
        return spec, []
    left = seconds - full_seconds(spec, at)
    for_published = PUBLISHED_SHARE * left
    kept: list[Baseline] = []
    left_out: list[str] = []
    for baseline in spec.baselines:
        if baseline.name == RECIPE:
            kept.append(baseline)
            continue
        cost = spec.epochs * epoch_seconds(conditions.published(spec, baseline), at)
        if cost > min(left, for_published if baseline.system else left):
            left_out.append(f"{baseline.name}: {duration(cost)}")
            continue
        kept.append(baseline)
        left -= cost
        for_published -= cost if baseline.system else 0.0
    return _with(spec, baselines=tuple(kept)), left_out


def _counted(spec: Spec, at: Situation, seconds: float | None) -> Spec:
    """Return the spec with as many trials as the time is expected to hold, and as many finalists as pay off."""
    full = full_seconds(spec, at)
    if spec.search is None:
        return spec
    given = len(spec.baselines)
    if seconds is None:
        if not _states(spec, "finalists"):
            spec = _with(spec, finalists=type(spec.finalists)(top=2))
        return spec if _states(spec, "trials") else _with(spec, trials=given + _shared(spec, spec.trials - given))
    left = seconds - _uninterrupted_seconds(spec, at)
    repeats = left >= REPEATED_TRIALS * full
    if not _states(spec, "finalists"):
        finalists = type(spec.finalists)(top=3 if repeats else 2, seeds=2 if repeats else 1)
        spec = _with(spec, finalists=finalists)
    left -= spec.finalists.top * (spec.finalists.seeds - 1) * full
    if not _states(spec, "trials"):
        held = max(_searched(with_rungs(spec, at), left / full) - len(_second_opinions(spec)), 0)
        ceiling = math.ceil(max(SPARE * held, held + MIN_SPARE_TRIALS))
        spec = _with(spec, trials=max(given + _shared(spec, ceiling), 1))
        if spec.trials > MAX_GP_TRIALS and not _states(spec, "sampler"):
            spec = _with(spec, sampler="tpe")
    return spec


def _second_opinions(spec: Spec) -> list[Baseline]:
    """Return the baselines that are neither the recipe nor published: early-stopped like searched trials."""
    return [one for one in spec.baselines if one.name != RECIPE and not one.system]


def _uninterrupted_seconds(spec: Spec, at: Situation) -> float:
    """Return the seconds of the recipe and the published configurations, each trained to its end."""
    others = _second_opinions(spec)
    full = [conditions.published(spec, one) for one in spec.baselines if one not in others]
    return sum(spec.epochs * epoch_seconds(one, at) for one in full)


def _searched(spec: Spec, full_trials: float) -> int:
    """Return how many searched trials take no more time than `full_trials` full ones."""
    count, more = 0, 1
    while count < MAX_TRIALS and searched_epochs(spec, count + more) <= full_trials * spec.epochs:
        count += more
        more = max(count // 50, 1)
    return count


def searched_epochs(spec: Spec, trials: int) -> float:
    """Return the epochs of that many searched trials, if each rung passes only its share, and at least one trial."""
    stopping = spec.early_stopping
    if stopping.scheduler == "none":
        return trials * spec.epochs
    if stopping.scheduler == "median":
        return MEDIAN_SHARE * trials * spec.epochs
    first, factor = stopping.min_epochs, stopping.reduction_factor
    if stopping.scheduler != "hyperband":
        return _bracket_epochs(first, factor, spec.epochs, trials)
    brackets = Hyperband(first, factor, spec.epochs, trials)
    members = Counter(map(brackets.bracket, range(trials)))
    return sum(_bracket_epochs(first * factor**s, factor, spec.epochs, count) for s, count in members.items())


def _bracket_epochs(first: int, factor: int, epochs: int, trials: int) -> float:
    total, before, alive = 0.0, 0, float(trials)
    for rung in [*milestones(first, factor, epochs), epochs]:
        total += alive * (rung - before)
        before, alive = rung, min(max(alive / factor, 1.0), trials)
    return total


def _shared(spec: Spec, searched: int) -> int:
    """Return `searched` trials, or about as many if the values of a comparison have to share them evenly."""
    values = len(comparable(spec)[spec.compare]) if spec.compare else 1
    return searched if values == 1 else max(searched // values, 1) * values


def with_rungs(spec: Spec, at: Situation) -> Spec:
    """Return the spec with its first rung after enough optimiser steps to judge a trial."""
    stopping = spec.early_stopping
    if "min_epochs" in stopping.model_fields_set:
        return spec
    by_steps = math.ceil(stopping.min_steps / steps_per_epoch(typical(spec), at))
    first = max(by_steps, math.ceil(RUNG_SHARE * spec.epochs))
    return _with(spec, early_stopping=stopping.model_copy(update={"min_epochs": first}))


def _search_seconds(spec: Spec, at: Situation, seconds: float | None) -> float:
    """Return the wall time of all trials on all lanes, in seconds."""
    full = full_seconds(spec, at)
    stopped = spec.trials - len(spec.baselines) + len(_second_opinions(spec))
    searched = searched_epochs(spec, stopped) / spec.epochs * full
    lasting = max((_uninterrupted_seconds(spec, at) + searched) / at.allotment.lanes, full)
    return lasting if seconds is None else min(lasting, max(seconds / at.allotment.lanes, full))


def _remarks(asked: Spec, chosen: Spec, at: Situation, full: float, seconds: float | None) -> tuple[str, ...]:
    experiment = typical(chosen)
    steps = chosen.epochs * steps_per_epoch(experiment, at)
    what = "the recipe" if has_recipe(chosen) else "a trial"
    budgeted = "" if seconds is None else ", as far as the budget goes"
    more = [one.name for one in chosen.baselines if one.name != RECIPE]
    more += ["a search around it"] if chosen.trials > len(chosen.baselines) else []
    plan = (
        f"{what} trains {chosen.epochs} epochs ({steps} steps) at {chosen.image_size} px, about {duration(full)}; "
        + (f"then {', '.join(more)}{budgeted}" if more else "nothing else is tried")
    )
    why = _why(asked, chosen, at, seconds)
    return (plan, why) if why else (plan,)


def _why(asked: Spec, chosen: Spec, at: Situation, seconds: float | None) -> str:
    flags = {"image_size": "--image-size", "epochs": "--epochs", "trials": "--trials"}
    open_ones = [flag for name, flag in flags.items() if not _states(asked, name)]
    if not open_ones:
        return ""
    change = f"change it with {', '.join(open_ones)}" + (" or --budget" if seconds else "")
    if seconds is None:
        return f"without a budget: {change}, or give --budget 15min and let it fit"
    each = 1000 * at.pace(typical(chosen))
    return f"a training image takes {each:.3g} ms here, and the budget leaves {duration(seconds)}; {change}"
