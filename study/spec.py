"""A study's specification: what is searched, over which data, for how long. YAML in, validated and immutable out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, ValidationError, model_validator

from study import budget, objective, spec_file
from study.dimension import Counts, Dimension, Flags, Names, Numbers, Strict
from study.meter import DEFAULT
from study.spec_error import SpecError, did_you_mean, from_pydantic, refusal, shown

__all__ = [
    "Baseline",
    "EarlyStopping",
    "Finalists",
    "Objective",
    "Resources",
    "Search",
    "Spec",
    "SpecError",
    "bundled",
    "load_spec",
]

SPECS = Path(__file__).parent / "specs"
MOST_GP_TRIALS = 300
"""For which the sampler is gp unless another is given."""


class Objective(Strict):
    """The column that trials are compared by, at their best epoch."""

    metric: str = "val_iou"
    mode: Literal["max", "min"] = "max"


def _number(value: object) -> str:
    return "several" if isinstance(value, list | tuple) else "one"


Objectives = Annotated[
    Annotated[Objective, Tag("one")]
    | Annotated[tuple[Objective, ...], Field(strict=False, min_length=1), Tag("several")],
    Discriminator(_number),
]


class EarlyStopping(Strict):
    """`scheduler`: a name in study.schedulers.SCHEDULERS. Rungs are at `min_epochs`, and each next one at
    `reduction_factor` times as many epochs; about the best 1 / `reduction_factor` go on from each. There is none from
    the last epoch on.

    If `min_epochs` is left out, study.planning gives the first rung so many epochs that `min_steps` optimiser steps
    come before it: fewer judge nothing."""

    scheduler: Literal["asha", "promoting_asha", "hyperband", "median", "none"] = "promoting_asha"
    min_epochs: int = Field(default=1, ge=1)
    min_steps: int = Field(default=100, ge=1)
    reduction_factor: int = Field(default=3, ge=2)


class Finalists(Strict):
    """`finalists: 2` is short for `{top: 2}`."""

    top: int = Field(default=1, ge=0)
    """Best trials that are scored on the sealed test split: of all, or of each value that is compared."""
    seeds: int = Field(default=1, ge=1)
    """With which each of them is trained, its own among them: see study.replicates."""


def _finalists(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        return {"top": value}
    if not isinstance(value, dict | Finalists):
        raise ValueError(f"{shown(value)} given; must be a whole number, or {{top: ..., seeds: ...}}")
    return value


class Encoder(Strict):
    weights: Literal["imagenet", "none"] = "imagenet"


def _lanes(value: object) -> object:
    if value != "auto" and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise ValueError(f"{shown(value)} given; must be auto or a whole number of at least 1")
    return value


def _of_every_node(value: object) -> object:
    """A single price is that of every machine."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return {DEFAULT: value} if is_number else value


class Resources(Strict):
    workers_per_trial: int = Field(default=1, ge=1)
    gpus_per_worker: float = Field(default=1.0, ge=0)
    """May be a fraction, so that workers share a GPU."""
    lanes: Annotated[Literal["auto"] | int, BeforeValidator(_lanes)] = "auto"
    """Trials running side by side. `auto`: as many as the machine or cluster holds."""
    hang_minutes: float = Field(default=30, gt=0)
    """A trial that makes no step for so long is ended as FAILED, its workers replaced. Longer than any step takes."""
    store_minutes: float = Field(default=15, ge=0)
    """For so long a store that cannot be reached is tried again, while training goes on; then the study stops."""

    price_per_hour: Annotated[dict[str, Annotated[float, Field(ge=0)]], BeforeValidator(_of_every_node)] | None = None
    """Of a machine, by node type; `default`: of all others. For budgets in money, and what trials cost: any currency,
    called usd."""

    feature_cache_gb: float | None = Field(default=None, ge=0)
    """Of what frozen encoders make of the images, kept for the trials that follow: in the memory of each node, or in
    each worker's GPU. By default an eighth of it."""

    @property
    def feature_bytes(self) -> float | None:
        return None if self.feature_cache_gb is None else 1e9 * self.feature_cache_gb

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.gpus_per_worker > 1 and not self.gpus_per_worker.is_integer():
            raise refusal([("gpus_per_worker", f"{self.gpus_per_worker} given; above 1 it must be whole")])
        if self.price_per_hour is not None and DEFAULT not in self.price_per_hour:
            raise refusal([(f"price_per_hour.{DEFAULT}", "missing; must be given for nodes of any other type")])
        return self


class Fixed(Strict):
    """Choices common to all searched trials: fields of seg.experiment.Experiment, whose defaults hold for the rest."""

    encoder_freeze: bool | None = None
    encoder_frozen_epochs: int | None = None
    encoder_lr: float | None = None
    decoder_lr: float | None = None
    batch_size: int | None = None
    optimizer: str | None = None
    weight_decay: float | None = None
    schedule: str | None = None
    augment: str | None = None
    normalize: str | None = None
    oversample: float | None = None
    precision: str | None = None
    keep: str | None = None


def _parameters_of_losses(value: object) -> object:
    """`bce`, `[bce, dice_bce]` and `bce:` are losses whose parameters keep their defaults."""
    names = [value] if isinstance(value, str) else value
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return {name: {} for name in names}
    return {name: {} if of is None else of for name, of in value.items()} if isinstance(value, dict) else value


class Search(Strict):
    """Dimensions of the search space, named as the fields of seg.experiment.Experiment. A single value is fixed."""

    model: Names
    loss: Annotated[dict[str, dict[str, Numbers]], BeforeValidator(_parameters_of_losses), Field(min_length=1)]
    """Losses, each with the dimensions of its own parameters; a parameter left out keeps its default."""
    encoder_freeze: Flags | None = None
    encoder_frozen_epochs: Counts | None = None
    encoder_lr: Numbers | None = None
    """This and the one before are searched only where the encoder is not frozen."""
    decoder_lr: Numbers | None = None
    batch_size: Counts | None = None
    optimizer: Names | None = None
    weight_decay: Numbers | None = None
    schedule: Names | None = None
    augment: Names | None = None
    normalize: Names | None = None
    oversample: Numbers | None = None
    precision: Names | None = None
    keep: Names | None = None


class Baseline(Fixed):
    """A configuration that is run before the search: the recipe, a published one, or one of the user's own. It
    inherits nothing from `fixed`: every choice is stated."""

    name: str = Field(min_length=1)
    model: str
    loss: str
    loss_parameters: dict[str, float] = Field(default_factory=dict)
    system: str = ""
    """Which publication this is a configuration of; empty if it is of none."""
    published: dict[str, float] = Field(default_factory=dict)
    """The publication's figures by column, as it measured them, for the table: `train_` and `val_` columns as in the
    table of epochs, every other name a score on its test images."""
    protocol: dict[str, int] = Field(default_factory=dict)
    """Numbers that the publication states of its run: epochs, image_size, batch_size, train_images, test_images. The
    table names those in which a study differs."""
    remarks: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """What else keeps its figures from being comparable, a short phrase each."""

    @property
    def choices(self) -> dict[str, Any]:
        """Fields of seg.experiment.Experiment."""
        return self.model_dump(exclude_none=True, exclude={"name", "system", "published", "protocol", "remarks"})

    @model_validator(mode="after")
    def _check(self) -> Self:
        optional = {"oversample", "precision", "encoder_frozen_epochs", "keep"} | (
            {"encoder_lr"} if self.encoder_freeze else set()
        )
        missing = [name for name in Fixed.model_fields if getattr(self, name) is None and name not in optional]
        if missing:
            raise refusal([(name, "missing; a baseline states every choice") for name in missing])
        return self


def _budget(value: object) -> object:
    """`none` lifts it, in a study that has one."""
    if value is None or value == "none":
        return None
    budget.parse(str(value))
    return value


class Spec(Strict):
    """What may be left out, and is, study.planning chooses by the data, the machine and the budget: image_size,
    trials, epochs, early_stopping.min_epochs, finalists. The values here are those of a study that nobody plans, a
    simulated one."""

    description: str = ""
    dataset: str
    image_size: int = 128
    """Side of the square training image, in pixels."""
    trials: int = Field(default=20, ge=1)
    """Baselines included, seed replicates of the finalists not."""
    epochs: int = Field(default=30, ge=1)
    budget: Annotated[str | None, BeforeValidator(_budget)] = None
    """What the study may cost at most, as in 2h, 40gpu-hours or 25usd: see study.budget."""
    seed: int = Field(default=0, ge=0)
    given_objectives: Objectives = Field(default=Objective(), alias="objective")
    """A list is searched for its Pareto set. The first one is that of early stopping and of a trial's best epoch."""
    sampler: Literal["tpe", "gp", "cmaes", "random", "qmc"] = "gp"
    """What proposes the next trial: a name in study.samplers.SAMPLERS. The default is what docs/search.md shows to
    be best: gp; tpe with several objectives, or with so many trials that proposals of a second would hold lanes up."""
    early_stopping: EarlyStopping = EarlyStopping()
    finalists: Annotated[Finalists, BeforeValidator(_finalists)] = Finalists()
    compare: str | None = None
    """A choice whose values are to be compared, `model` for one: see study.comparison."""
    encoder: Encoder = Encoder()
    resources: Resources = Resources()
    fixed: Fixed = Fixed()
    search: Search | None = None
    """Only a study of nothing but baselines needs none."""
    baselines: Annotated[tuple[Baseline, ...], Field(strict=False)] = ()
    """The recipe first. The published ones among them that do not fit the budget are left out by study.planning."""
    published: Literal["fitting", "all"] = "fitting"
    """`all`: published baselines are run whatever they cost."""

    @property
    def objectives(self) -> tuple[objective.Objective, ...]:
        given = self.given_objectives
        several = given if isinstance(given, tuple) else (given,)
        return tuple(objective.Objective(one.metric, one.mode) for one in several)

    @property
    def objective(self) -> objective.Objective:
        """The first one."""
        return self.objectives[0]

    @property
    def models(self) -> list[str]:
        """Every architecture that some trial may have, sorted."""
        searched = self.search.model if self.search else ()
        return sorted({*searched, *(baseline.model for baseline in self.baselines)})

    @property
    def losses(self) -> Mapping[str, Mapping[str, Dimension]]:
        """Searched losses, each with the dimensions of its parameters."""
        return self.search.loss if self.search else {}

    @model_validator(mode="before")
    @classmethod
    def _choose_sampler(cls, raw: object) -> object:
        if not isinstance(raw, dict):
            return raw
        several = isinstance(raw.get("objective"), list) and len(raw["objective"]) > 1
        many = isinstance(raw.get("trials"), int) and raw["trials"] > MOST_GP_TRIALS
        return {"sampler": "tpe"} | raw if several or many else raw

    @model_validator(mode="after")
    def _check(self) -> Self:
        # Imported here: it takes seg and with it torch, two seconds that --list and --help can do without.
        from study import spec_check

        if problems := spec_check.problems(self):
            raise refusal(problems)
        return self

    def to_json(self) -> dict[str, Any]:
        """Everything resolved, defaults included: plain dicts and lists."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any], overrides: Sequence[str] = (), source: str = "study.json") -> "Spec":
        """Inverse of to_json, with `path.of.key=VALUE` overrides applied. SpecError naming `source` where invalid."""
        try:
            return cls.model_validate(spec_file.override(raw, overrides, source))
        except ValidationError as error:
            raise from_pydantic(error, source, cls) from error


def load_spec(name_or_path: str, overrides: Sequence[str] = ()) -> Spec:
    """A bundled spec by its name, or a YAML file by its path, with `path.of.key=VALUE` overrides applied.

    SpecError, in one line, where there is none, or it or an override is invalid.
    """
    path, source = Path(name_or_path), name_or_path
    if name_or_path in _bundled_names():
        path, source = SPECS / f"{name_or_path}.yaml", f"{name_or_path}.yaml"
    elif path.is_dir():
        raise SpecError(source, "", f"is a folder; to study the images in it: folder --data {name_or_path}")
    elif not path.is_file():
        names = _bundled_names()
        advice = f"{did_you_mean(name_or_path, names)} (bundled: {', '.join(names)})"
        raise SpecError(source, "", f"neither a bundled study nor a file{advice}")
    raw = spec_file.read(path, source)
    raw |= {"baselines": _borrowed(raw.get("baselines"), source)}
    return Spec.from_json(_as_many_baselines_as_trials(spec_file.override(raw, overrides, source)), (), source)


def _as_many_baselines_as_trials(raw: spec_file.Raw) -> spec_file.Raw:
    """The first ones: of one trial, the recipe."""
    trials = raw.get("trials")
    fewer = isinstance(trials, int) and isinstance(raw["baselines"], list) and 0 < trials < len(raw["baselines"])
    return raw | {"baselines": raw["baselines"][:trials]} if fewer else raw


def _borrowed(baselines: Any, source: str) -> Any:
    """In place of a bundled spec's name, the baselines of that spec: a published configuration is written once."""
    if not isinstance(baselines, list):
        return baselines or []
    found: list[Any] = []
    for place, item in enumerate(baselines):
        if not isinstance(item, str):
            found.append(item)
        elif item in (names := _bundled_names()):
            found += spec_file.read(SPECS / f"{item}.yaml", item).get("baselines", [])
        else:
            problem = f"{item!r} is no bundled study{did_you_mean(item, names)}; give one, or a baseline's choices"
            raise SpecError(source, f"baselines.{place}", problem)
    return found


def bundled() -> dict[str, str]:
    """Name of each bundled spec, and its description."""
    return {name: str(spec_file.read(SPECS / f"{name}.yaml", name)["description"]) for name in _bundled_names()}


def _bundled_names() -> list[str]:
    """Those in a folder bear its name: `published/r1-frozen`."""
    return sorted(path.relative_to(SPECS).with_suffix("").as_posix() for path in SPECS.rglob("*.yaml"))
