"""Chooses what a spec leaves open, so that the study fits its budget, uses it, and has the recipe trained in full:
image size, epochs, the first rung, trials, finalists and their seeds, and which published configurations take part.

Everything is reckoned from the seconds that a training image takes (study.timing) and the number of images. How image
size and length are weighed against each other comes from the experiments in analysis/results/recipe.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from seg import models
from seg.experiment import Experiment
from study import conditions
from study.budget import Budget, parse
from study.comparison import comparable
from study.meter import price
from study.progress import duration
from study.records import RECIPE
from study.resources import Allotment, Cluster
from study.schedulers.hyperband import Hyperband
from study.schedulers.rung import milestones
from study.spec import MOST_GP_TRIALS, Baseline, Spec

SIZES = (128, 160, 192, 224, 256, 320, 384, 448, 512)
"""Image sizes that are tried, in pixels."""
DEFAULT_SIZE = 192
GOOD_SIZE = 192
"""Image size, in pixels, that comes before a search: a budget too small for both is the recipe's alone."""
FULL_STEPS, FULL_EPOCHS = 400, 15
"""Optimiser steps and passes over the images after which the recipe gains more from larger images than from more."""
LONGEST = 1.5
"""Times its full length that the recipe is trained at most, at the largest size that is worth it."""
RECIPE_SHARE, ALONE_SHARE = 0.42, 0.95
"""Part of a lane's time that the recipe takes beside a search, which then holds a full trial too; and alone."""
MEDIAN_SHARE = 0.6
"""Of a full trial's time, what a searched one takes on average under the median rule."""
PUBLISHED_SHARE = 1 / 3
"""Of what the recipe leaves, the most that published configurations may take."""
REPEATED_TRIALS = 12
"""Full trials that must fit beside the recipe before the finalists are trained with a second seed."""
TRIALS_AT_MOST = 10_000
SPARE = 2.0
"""Times the expected number of searched trials that may be begun: training may turn out faster than it was timed."""
FEWEST_SPARE = 6
RUNG_SHARE = 1 / 8
"""Of a trial's epochs, what comes at least before its first rung."""

EPOCH_SECONDS = 0.15
"""Of each epoch, beside its images: messages, counts, a checkpoint."""
START_SECONDS = 30.0
"""From the plan to the first step of the first trial: packing a small dataset, Ray, one lane."""
END_SECONDS = 15.0
"""After the last trial: records, verdict and report, beside the time that scoring takes."""
READ_SECONDS = 0.02
"""To read an image at its native size, and to bring probabilities to that size."""
MARGIN = 0.95
"""Of what is left for training, what is planned with: a busy machine is slower than it was when it was timed."""

Pace = Callable[[Experiment], float]
"""Seconds that a training image takes in an experiment, on one lane."""


@dataclass(frozen=True)
class Situation:
    """What a study is planned for."""

    images: Mapping[str, int]
    """Of each split."""
    side: int
    """Pixels of the shorter side of a typical image."""
    allotment: Allotment
    cluster: Cluster
    pace: Pace
    elapsed_seconds: float = 0.0
    """Since the command was typed."""


@dataclass(frozen=True)
class Planned:
    spec: Spec
    """With nothing left open."""
    full_seconds: float
    """Of one trial of the recipe, or of an average one if there is no recipe."""
    search_seconds: float
    """Of all trials, each stopped as early as it is expected to be."""
    reserved_seconds: float
    """For scoring the finalists and the report, within the budget."""
    remarks: tuple[str, ...]
    """What was chosen, why, and what a person may change."""
    left_out: tuple[str, ...] = ()
    """Published configurations that do not fit, each with its cost."""


def is_open(spec: Spec) -> bool:
    """Whether there is anything to plan."""
    return spec.budget is not None or not {"image_size", "epochs", "trials"} <= spec.model_fields_set


def plan(spec: Spec, at: Situation) -> Planned:
    """What `spec` states stays; what it leaves open is chosen. Without a budget, as for an evening's study."""
    reserved = ending_seconds(spec, at)
    # Larger images and more finalists take longer to score, which is to fit as well.
    while (planned := _plan(spec, at, reserved)).reserved_seconds > reserved and spec.budget:
        reserved = planned.reserved_seconds
    return planned


def _plan(spec: Spec, at: Situation, reserved_seconds: float) -> Planned:
    """With so much of the budget kept for what comes after the trials."""
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
    """Of a study that goes on with a larger budget, after `ended` trials: with as many more as that holds."""
    seconds = training_seconds(spec, at, ending_seconds(spec, at))
    if seconds is None or spec.search is None:
        return spec
    more = _shared(spec, _searched(spec, seconds / full_seconds(spec, at)))
    return _with(spec, trials=max(spec.trials, ended + more))


def training_seconds(spec: Spec, at: Situation, reserved_seconds: float) -> float | None:
    """Seconds of all lanes together that the budget leaves for training; None without a budget."""
    if spec.budget is None:
        return None
    wall = 3600 * _hours(parse(spec.budget), spec, at) - at.elapsed_seconds - START_SECONDS - reserved_seconds
    return max(wall, 1.0) * MARGIN * at.allotment.lanes


def _hours(budget: Budget, spec: Spec, at: Situation) -> float:
    """That the budget lasts for."""
    allotment = at.allotment
    hourly = {"hours": 1.0, "GPU-hours": allotment.lanes * allotment.workers * allotment.gpus_per_worker}
    if budget.unit == "usd":
        hourly["usd"] = sum(price(spec.resources.price_per_hour or {}, node.kind) for node in at.cluster.all)
    return budget.amount / hourly[budget.unit] if hourly[budget.unit] else math.inf


def ending_seconds(spec: Spec, at: Situation) -> float:
    """Scoring of the finalists at native size, and the report."""
    seeds = spec.finalists.seeds
    finalists = min(len(spec.baselines) + spec.finalists.top * seeds, spec.trials * seeds)
    each = at.pace(typical(spec)) / 3 + READ_SECONDS
    return END_SECONDS + at.images["test"] * (READ_SECONDS + finalists * each)


def has_recipe(spec: Spec) -> bool:
    return any(one.name == RECIPE for one in spec.baselines)


def typical(spec: Spec) -> Experiment:
    """The recipe, or what stands for the study's trials if it has none."""
    recipe = next((one for one in spec.baselines if one.name == RECIPE), None)
    if recipe is None and spec.search is not None:
        return conditions.determine(spec, conditions.first)
    return conditions.published(spec, recipe or spec.baselines[0])


def epoch_seconds(experiment: Experiment, at: Situation) -> float:
    """Validation costs about a third of a training step an image: it has no backward pass."""
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
    """With the largest images of which the recipe can be trained in full within its share of the time. Images are not
    made larger than they are."""
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
    return _with(spec, image_size=at_ease if at_ease >= min(GOOD_SIZE, sizes[-1]) else fitting(ALONE_SHARE))


def _taken(spec: Spec, size: int) -> bool:
    """Whether every model of the study can train on images of this size. They were checked at the first of SIZES:
    asking their rule is enough."""
    return all(size % models.family(name).multiple == 0 for name in spec.models)


def _lengthened(spec: Spec, at: Situation, lane_seconds: float | None) -> Spec:
    """With as many epochs as fill the recipe's share, up to LONGEST times its full length. If its full length does not
    fit beside a search, the recipe has the time alone."""
    if _states(spec, "epochs"):
        return spec
    full = _full_epochs(spec, at)
    if lane_seconds is None:
        return _with(spec, epochs=full)
    each = epoch_seconds(typical(spec), at)
    at_ease, alone = (int(share * lane_seconds / each) for share in (RECIPE_SHARE, ALONE_SHARE))
    return _with(spec, epochs=max(min(at_ease if at_ease >= full else alone, int(LONGEST * full)), 1))


def _published(spec: Spec, at: Situation, seconds: float | None) -> tuple[Spec, list[str]]:
    """Without those baselines beside the recipe for which it leaves no time; published ones may take a part of it. A
    spec that says which are to take part, as that of a study that has begun, keeps them."""
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
    """With as many trials as the time is expected to hold, and finalists as they are worth it."""
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
        ceiling = math.ceil(max(SPARE * held, held + FEWEST_SPARE))
        spec = _with(spec, trials=max(given + _shared(spec, ceiling), 1))
        if spec.trials > MOST_GP_TRIALS and not _states(spec, "sampler"):
            spec = _with(spec, sampler="tpe")
    return spec


def _second_opinions(spec: Spec) -> list[Baseline]:
    """Baselines that are neither the recipe nor published: stopped early like searched trials."""
    return [one for one in spec.baselines if one.name != RECIPE and not one.system]


def _uninterrupted_seconds(spec: Spec, at: Situation) -> float:
    """Of the recipe and the published configurations, each trained to its end."""
    others = _second_opinions(spec)
    full = [conditions.published(spec, one) for one in spec.baselines if one not in others]
    return sum(spec.epochs * epoch_seconds(one, at) for one in full)


def _searched(spec: Spec, full_trials: float) -> int:
    """How many searched trials take no more time than so many full ones."""
    count, more = 0, 1
    while count < TRIALS_AT_MOST and searched_epochs(spec, count + more) <= full_trials * spec.epochs:
        count += more
        more = max(count // 50, 1)
    return count


def searched_epochs(spec: Spec, trials: int) -> float:
    """Epochs that so many searched trials train, if each rung lets only its share through, and one at least."""
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
    """So many searched trials, or about so many that the values of a comparison can share them evenly."""
    values = len(comparable(spec)[spec.compare]) if spec.compare else 1
    return searched if values == 1 else max(searched // values, 1) * values


def with_rungs(spec: Spec, at: Situation) -> Spec:
    """With the first rung after enough optimiser steps to judge by."""
    stopping = spec.early_stopping
    if "min_epochs" in stopping.model_fields_set:
        return spec
    by_steps = math.ceil(stopping.min_steps / steps_per_epoch(typical(spec), at))
    first = max(by_steps, math.ceil(RUNG_SHARE * spec.epochs))
    return _with(spec, early_stopping=stopping.model_copy(update={"min_epochs": first}))


def _search_seconds(spec: Spec, at: Situation, seconds: float | None) -> float:
    """Wall time of all trials on all lanes."""
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
