"""Checks that a spec's fields agree with one another and with what seg has."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import islice

from seg import data, models
from seg.experiment import Experiment
from seg.options import DEFAULTS, WARM_UP
from study.ranking.objective import COSTS, Objective
from study.spec import conditions
from study.spec.budget import parse
from study.spec.conditions import by_field, determine, first, flat, parameter, published
from study.spec.dimension import Dimension, Value, ends
from study.spec.errors import did_you_mean
from study.spec.spec import STEP, Spec
from study.store.records import RECIPE, REPLICATE

DEFAULT_BATCH = Experiment.batch_size
LARGEST = 1024
"""The largest image size, in pixels, that is tried in order to suggest one."""
Problem = tuple[str, str]
"""The path of a key, and what is wrong with it."""


def problems(spec: Spec) -> list[Problem]:
    return [
        *_budget(spec),
        *_data(spec),
        *_objectives(spec),
        *(_searched(spec) or [*_sampler(spec), *_compared(spec)]),
        *_baselines(spec),
    ]


def _budget(spec: Spec) -> Iterator[Problem]:
    if spec.budget and parse(spec.budget).unit == "usd" and spec.resources.price_per_hour is None:
        problem = f"missing; must be given for a budget of {spec.budget}, as in {{default: 1.2, g6.12xlarge: 4.6}}"
        yield "resources.price_per_hour", problem
    if spec.trials < len(spec.baselines):
        yield "trials", f"{spec.trials} given; must be at least {len(spec.baselines)}, the number of baselines"
    if spec.finalists.seeds > 1 and spec.trials > STEP:
        yield "finalists.seeds", f"{spec.finalists.seeds} given; must be 1 with more than {STEP} trials"
    workers, smallest = spec.resources.workers_per_trial, _smallest_batch(spec)
    if workers > smallest:
        yield "resources.workers_per_trial", f"{workers} given; must be at most the smallest batch_size, {smallest}"


def _smallest_batch(spec: Spec) -> int:
    """Return the smallest batch size of all trials, at least 1: a batch_size below 1 has its own error."""
    searched = [int(value) for value in ends(by_field(spec).get("batch_size", (DEFAULT_BATCH,)))]
    given = [*searched, *(baseline.batch_size or DEFAULT_BATCH for baseline in spec.baselines)]
    return max(min(given), 1)


def _data(spec: Spec) -> Iterator[Problem]:
    name = spec.dataset.partition(":")[0]
    if name not in data.DATASETS:
        advice = did_you_mean(name, list(data.DATASETS))
        yield "dataset", f"{spec.dataset!r} is not known{advice} (allowed: {', '.join(data.DATASETS)})"
    else:
        try:
            data.parse(spec.dataset)
        except data.DataError as error:
            yield "dataset", str(error)
    yield from _image_size(spec)


def _image_size(spec: Spec) -> Iterator[Problem]:
    """Yield a problem if some model of the spec cannot take the image size. An unknown model has its own error."""
    known = {name: models.family(name) for name in spec.models if _is_known(name)}
    size, multiple = spec.image_size, math.lcm(*(model.multiple for model in known.values()))
    smallest = max((model.smallest for model in known.values()), default=1)
    refusing = [name for name in known if not models.takes(name, size)]
    if not refusing:
        return
    if size < smallest or size % multiple:
        of_multiple = f"a multiple of {multiple}, " if multiple > 1 else ""
        allowed = f"{of_multiple}at least {smallest}"
    else:
        allowed = _sizes_near(size, [*known], range(-(-smallest // multiple) * multiple, LARGEST + 1, multiple))
    yield "image_size", f"{size} given; must be {allowed}, for {', '.join(refusing)}"


def _sizes_near(size: int, names: list[str], candidates: Iterable[int]) -> str:
    """Return, as text, the three sizes nearest to `size` that all the models take."""
    by_distance = sorted(candidates, key=lambda other: abs(other - size))
    taken = (other for other in by_distance if all(models.takes(name, other) for name in names))
    return " or ".join(map(str, sorted(islice(taken, 3)))) or f"one that all models take; up to {LARGEST} there is none"


def _is_known(model: str) -> bool:
    try:
        models.check(model)
    except ValueError:
        return False
    return True


def _objectives(spec: Spec) -> Iterator[Problem]:
    metrics = [objective.metric for objective in spec.objectives]
    for number, objective in enumerate(spec.objectives):
        place = f"objective.{number}" if len(metrics) > 1 else "objective"
        yield from _objective(objective, place, first=number == 0)
        if objective.metric in metrics[:number]:
            yield f"{place}.metric", f"{objective.metric!r} is given twice; each objective must be another column"


def _objective(objective: Objective, place: str, first: bool) -> Iterator[Problem]:
    metric, mode = objective.metric, objective.mode
    if metric not in COSTS and not metric.startswith("val_"):
        costs = "" if first else f", or one of {', '.join(COSTS)}"
        problem = f"{metric!r} given; must be a validation column, such as val_iou, val_dice or val_loss{costs}"
        yield f"{place}.metric", problem
        return
    if first and metric in COSTS:
        problem = f"{metric!r} given; the first objective must be a validation column, such as val_iou"
        yield f"{place}.metric", f"{problem}: early stopping and best epochs go by it"
    right = "min" if metric == "val_loss" or metric in COSTS else "max"
    if mode != right:
        yield f"{place}.mode", f"{mode!r} given; must be {right} for {metric}"


def _compared(spec: Spec) -> Iterator[Problem]:
    if spec.compare is None:
        return
    choices = conditions.comparable(spec)
    if spec.compare not in choices:
        allowed = ", ".join(choices) or "none of this spec"
        yield "compare", f"{spec.compare!r} given; must be a choice of every trial with several values: {allowed}"
        return
    values, searched = len(choices[spec.compare]), spec.trials - len(spec.baselines)
    # If the spec does not state `trials`, study.driver.planning makes it fit.
    if (over := searched % values) and "trials" in spec.model_fields_set:
        fewer = f"{spec.trials - over} or " if searched > values else ""
        problem = f"{searched} searched trials are to be shared by {values} values of {spec.compare}"
        yield "trials", f"{spec.trials} given; {problem}: give {fewer}{spec.trials - over + values}"


def _searched(spec: Spec) -> list[Problem]:
    if spec.search is not None:
        return _structure(spec) or _dimensions(spec)
    if spec.trials > len(spec.baselines):
        count = f"{spec.trials} trials, of which {len(spec.baselines)} are baselines"
        return [("search", f"missing; must be given for {count}: what the others try")]
    return []


def _sampler(spec: Spec) -> Iterator[Problem]:
    searched = flat(spec)
    # The compared choice is left out: each of its values has its own search.
    choices = [name for name, of in searched.items() if isinstance(ends(of)[0], str | bool) and name != spec.compare]
    if len(spec.objectives) > 1 and spec.sampler in ("gp", "cmaes"):
        yield "sampler", f"{spec.sampler} searches for one objective alone; for several, give tpe, random or qmc"
    elif spec.sampler == "cmaes" and choices:
        names = ", ".join(choices)
        yield "sampler", f"cmaes searches numbers alone; give {names} a single value each, or tpe or gp as sampler"
    elif spec.sampler == "cmaes" and not searched:
        yield "sampler", "cmaes has no number to search; give a range in search, or another sampler"
    elif spec.sampler == "cmaes" and not find_spec("cmaes"):
        yield "sampler", "cmaes needs the package cmaes: pip install 'segstudy[samplers]'; or give tpe"


def _structure(spec: Spec) -> list[Problem]:
    """Return the problems of dimensions that are given twice, or not at all."""
    dimensions = by_field(spec)
    twice = [name for name in type(spec.fixed).model_fields if getattr(spec.fixed, name) is not None]
    twice = [name for name in twice if getattr(spec.search, name) is not None]
    found = [(f"fixed.{name}", f"also in search as search.{name}; must be in one of them") for name in twice]
    if "decoder_lr" not in dimensions:
        found.append(("search.decoder_lr", "missing; give {low: .., high: .., log: true}, or a value in fixed"))
    if "encoder_lr" not in dimensions and False in dimensions.get("encoder_freeze", (False,)):
        found.append(("search.encoder_lr", "missing; must be given where encoder_freeze can be false"))
    return found


@dataclass(frozen=True)
class _Place:
    path: str
    field: str
    """The field's name in seg.experiment.Experiment's errors."""
    name: str
    dimension: Dimension
    condition: Mapping[str, Value]
    """The choices that make the dimension exist."""


def _places(spec: Spec) -> Iterator[_Place]:
    for field, dimension in by_field(spec).items():
        folder = "search" if getattr(spec.search, field) is not None else "fixed"
        yield _Place(f"{folder}.{field}", field, field, dimension, {})
    for loss, parameters in spec.losses.items():
        for name, dimension in parameters.items():
            path = f"search.loss.{loss}.{name}"
            yield _Place(path, f"loss_{name}", parameter(loss, name), dimension, {"loss": loss})


def _dimensions(spec: Spec) -> list[Problem]:
    """Return the errors of Experiment for each dimension's ends, tried in turn with the others at their first value."""
    found: dict[str, str] = {}
    elsewhere: dict[str, str] = {}
    for place in _places(spec):
        for end in ends(place.dimension):
            try:
                determine(spec, partial(_pick, {**place.condition, place.name: end}))
            except ValueError as error:
                field, _, problem = str(error).partition(": ")
                (found if field == place.field else elsewhere).setdefault(place.path, problem)
    return list((found or elsewhere).items())


def _pick(picked: Mapping[str, Value], name: str, dimension: Dimension) -> Value:
    return picked[name] if name in picked else first(name, dimension)


def _baselines(spec: Spec) -> Iterator[Problem]:
    taken = ("search", REPLICATE)
    names = [*taken, *(baseline.name for baseline in spec.baselines)]
    for number, baseline in enumerate(spec.baselines):
        place = f"baselines.{number}"
        if baseline.name in names[: len(taken) + number]:
            yield f"{place}.name", f"{baseline.name!r} is taken; each baseline needs its own name, and not {_or(taken)}"
        for name in sorted(DEFAULTS.get(baseline.loss, {}).keys() - baseline.loss_parameters.keys()):
            yield f"{place}.loss_parameters.{name}", "missing; a baseline states every choice"
        try:
            published(spec, baseline)
        except ValueError as error:
            field, _, problem = str(error).partition(": ")
            yield f"{place}.{_field_path(field)}", problem


def _or(names: Iterable[str]) -> str:
    return " or ".join(map(repr, names))


def _field_path(field: str) -> str:
    return field.replace("loss_", "loss_parameters.", 1) if field.startswith("loss_") else field


def caveats(spec: Spec) -> Iterator[str]:
    """Yield warnings to show before the study starts, one line each: what, why, what to do.

    They are about specs that are valid but likely to give misleading results.
    """
    yield from _judged_while_warming_up(spec)


def _judged_while_warming_up(spec: Spec) -> Iterator[str]:
    """Yield a warning if trials are judged while the rates of one schedule still rise and those of another do not.

    A trial that begins with small rates is behind early on, and may be the best in the end.
    """
    searched = ends(by_field(spec).get("schedule", (Experiment.schedule,))) if spec.search else ()
    # Published configurations keep their schedules, so do not ask to change them. Early stopping ignores the recipe.
    others = (baseline for baseline in spec.baselines if not baseline.system and baseline.name != RECIPE)
    schedules = {*searched, *(baseline.schedule for baseline in others)}
    until, first = math.ceil(WARM_UP * spec.epochs), spec.early_stopping.min_epochs
    mixed = "one_cycle" in schedules and len(schedules) > 1
    if mixed and spec.early_stopping.scheduler != "none" and first <= until < spec.epochs:
        yield (
            f"one_cycle's rates rise until epoch {until}: trials with it that are judged at epoch {first} look worse "
            f"than they end; give all one schedule, or set early_stopping.min_epochs={until + 1}"
        )
