"""What a spec's single fields cannot show: whether they agree with one another, and with what seg has."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from seg import models
from seg.data import DATASETS
from seg.experiment import Experiment
from seg.losses import DEFAULTS
from study.conditions import by_field, determine, first, parameter, published
from study.dimension import Dimension, Value, ends
from study.records import REPLICATE
from study.spec_error import did_you_mean

if TYPE_CHECKING:
    from study.spec import Spec

DEFAULT_BATCH = Experiment.batch_size
LARGEST = 1024
"""Of the image sizes that are tried to suggest one, in pixels."""
Problem = tuple[str, str]
"""Path of the key, and what is wrong with it."""


def problems(spec: "Spec") -> list[Problem]:
    return [
        *_budget(spec),
        *_data(spec),
        *_objective(spec),
        *_searched(spec),
        *_baselines(spec),
    ]


def _budget(spec: "Spec") -> Iterator[Problem]:
    if spec.trials < len(spec.baselines):
        yield "trials", f"{spec.trials} given; must be at least {len(spec.baselines)}, the number of baselines"
    stopping = spec.early_stopping
    if stopping.scheduler != "none" and spec.epochs < stopping.min_epochs:
        yield "epochs", f"{spec.epochs} given; must be at least early_stopping.min_epochs, {stopping.min_epochs}"
    if spec.finalists.top > spec.trials:
        yield "finalists.top", f"{spec.finalists.top} given; must be at most trials, {spec.trials}"
    workers, smallest = spec.resources.workers_per_trial, _smallest_batch(spec)
    if workers > smallest:
        yield "resources.workers_per_trial", f"{workers} given; must be at most the smallest batch_size, {smallest}"


def _smallest_batch(spec: "Spec") -> int:
    """Of every trial; a batch_size below 1 is refused for itself."""
    searched = [int(value) for value in ends(by_field(spec).get("batch_size", (DEFAULT_BATCH,)))]
    given = [*searched, *(baseline.batch_size or DEFAULT_BATCH for baseline in spec.baselines)]
    return max(min(given), 1)


def _data(spec: "Spec") -> Iterator[Problem]:
    if spec.dataset not in DATASETS:
        advice = did_you_mean(spec.dataset, list(DATASETS))
        yield "dataset", f"{spec.dataset!r} is not known{advice} (allowed: {', '.join(DATASETS)})"
    yield from _image_size(spec)


def _image_size(spec: "Spec") -> Iterator[Problem]:
    """A size that every model of the spec can take; an unknown model is refused for itself."""
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
    """The three nearest that all the models take."""
    by_distance = sorted(candidates, key=lambda other: abs(other - size))
    taken = (other for other in by_distance if all(models.takes(name, other) for name in names))
    return " or ".join(map(str, sorted(islice(taken, 3)))) or f"one that all models take; up to {LARGEST} there is none"


def _is_known(model: str) -> bool:
    try:
        models.check(model)
    except ValueError:
        return False
    return True


def _objective(spec: "Spec") -> Iterator[Problem]:
    metric, mode = spec.objective.metric, spec.objective.mode
    if not metric.startswith("val_"):
        yield (
            "objective.metric",
            f"{metric!r} given; must be a validation column, such as val_iou, val_dice or val_loss",
        )
        return
    right = "min" if metric == "val_loss" else "max"
    if mode != right:
        yield "objective.mode", f"{mode!r} given; must be {right} for {metric}"


def _searched(spec: "Spec") -> list[Problem]:
    if spec.search is not None:
        return _structure(spec) or _dimensions(spec)
    if spec.trials > len(spec.baselines):
        count = f"{spec.trials} trials, of which {len(spec.baselines)} are baselines"
        return [("search", f"missing; must be given for {count}: what the others try")]
    return []


def _structure(spec: "Spec") -> list[Problem]:
    """Dimensions given twice, or not at all."""
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
    """As seg.experiment.Experiment's errors name it."""
    name: str
    dimension: Dimension
    condition: Mapping[str, Value]
    """Choices that make the dimension exist."""


def _places(spec: "Spec") -> Iterator[_Place]:
    for field, dimension in by_field(spec).items():
        folder = "search" if getattr(spec.search, field) is not None else "fixed"
        yield _Place(f"{folder}.{field}", field, field, dimension, {})
    for loss, parameters in spec.losses.items():
        for name, dimension in parameters.items():
            path = f"search.loss.{loss}.{name}"
            yield _Place(path, f"loss_{name}", parameter(loss, name), dimension, {"loss": loss})


def _dimensions(spec: "Spec") -> list[Problem]:
    """Experiment is the judge: each dimension's ends are tried in turn, the others at their first value."""
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


def _baselines(spec: "Spec") -> Iterator[Problem]:
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
