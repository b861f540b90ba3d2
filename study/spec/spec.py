"""A study's specification: what is searched, over which data, and for how long.

It is read from YAML, validated, and immutable.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, create_model, model_validator

from seg.options import HYPERPARAMETERS
from study.ranking import objective
from study.spec import budget
from study.spec.dimension import Counts, Dimension, Flags, Names, Numbers, Strict
from study.spec.errors import refusal, shown
from study.store.records import OTHER_KINDS

STEP = 100_000
"""The distance from a trial to its next seed replicate, both in trial number and in seed.

Trial 7, whose seed is 0, is repeated as trial 100007 with seed 100000, as trial 200007 with seed 200000, and so on.
Both numbers follow from the repeated trial. So each replicate runs only once, even if the study is interrupted, and
more searched trials may follow. No searched trial has such a number or such a seed. If a searched trial repeats another
by chance, it gets one of the next seeds after the study's.
"""

MAX_GP_TRIALS = 300
"""The most trials for which gp is the default sampler."""


class Objective(Strict):
    """The column by which trials are compared at their best epoch."""

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
    """The early-stopping rule; `scheduler` is a name in study.search.schedulers.SCHEDULERS.

    The first rung is at `min_epochs`, and each next one at `reduction_factor` times as many epochs. About the best
    1 / `reduction_factor` of the trials go on from each. All rungs are before the last epoch.

    If `min_epochs` is left out, study.driver.planning puts at least `min_steps` optimiser steps before the first rung:
    scores after fewer steps say nothing.
    """

    scheduler: Literal["asha", "promoting_asha", "hyperband", "median", "none"] = "promoting_asha"
    min_epochs: int = Field(default=1, ge=1)
    min_steps: int = Field(default=100, ge=1)
    reduction_factor: int = Field(default=3, ge=2)


class Finalists(Strict):
    """The finalists of a study. `finalists: 2` is short for `{top: 2}`."""

    top: int = Field(default=1, ge=0)
    """The number of best trials scored on the sealed test split: of all trials, or of each compared value."""
    seeds: int = Field(default=1, ge=1)
    """The number of seeds with which each of them is trained, including its own: see study.search.replicates."""


def _finalists(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        return {"top": value}
    if not isinstance(value, dict | Finalists):
        raise ValueError(f"{shown(value)} given; must be a whole number, or {{top: ..., seeds: ...}}")
    return value


class Encoder(Strict):
    weights: Literal["imagenet", "none"] = "imagenet"


IN_PROCESS = "in-process"


def _lanes(value: object) -> object:
    if value not in ("auto", IN_PROCESS) and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise ValueError(f"{shown(value)} given; must be auto, {IN_PROCESS} or a number of lanes")
    return value


def _of_every_node(value: object) -> object:
    """Return a single price as the price of every machine."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return {OTHER_KINDS: value} if is_number else value


class Resources(Strict):
    workers_per_trial: int = Field(default=1, ge=1)
    gpus_per_worker: float = Field(default=1.0, ge=0)
    """The number of GPUs of each worker, which may be a fraction so that workers share a GPU."""
    lanes: Annotated[Literal["auto", "in-process"] | int, BeforeValidator(_lanes)] = "auto"
    """The number of trials that run side by side. `auto`: as many as the machine or cluster holds.

    `in-process`: one, in the study's own process, without Ray.
    """
    hang_minutes: float = Field(default=30, gt=0)
    """Minutes without a step after which a trial ends as FAILED and its workers are replaced.

    It must be longer than any step takes.
    """
    store_minutes: float = Field(default=15, ge=0)
    """Minutes for which an unreachable store is tried again while training goes on; then the study stops."""

    price_per_hour: Annotated[dict[str, Annotated[float, Field(ge=0)]], BeforeValidator(_of_every_node)] | None = None
    """The price of a machine per hour by node type, where `default` stands for all other types.

    It is used for budgets in money and for the cost of trials. It may be in any currency, but is called usd.
    """

    feature_cache_gb: float | None = Field(default=None, ge=0)
    """The upper bound, in GB, of the cache that keeps frozen encoders' features for later trials.

    The cache is in the memory of each node, or of each worker's GPU. By default it may fill an eighth of that memory.
    """

    @property
    def feature_bytes(self) -> float | None:
        return None if self.feature_cache_gb is None else 1e9 * self.feature_cache_gb

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.gpus_per_worker > 1 and not self.gpus_per_worker.is_integer():
            raise refusal([("gpus_per_worker", f"{self.gpus_per_worker} given; above 1 it must be whole")])
        if self.price_per_hour is not None and OTHER_KINDS not in self.price_per_hour:
            raise refusal([(f"price_per_hour.{OTHER_KINDS}", "missing; must be given for nodes of any other type")])
        return self


SEARCHED = {name: of for name, of in HYPERPARAMETERS.items() if of.searched}
UNSTATED = {"encoder_frozen_epochs", "oversample", "precision", "keep"}
"""Hyperparameters that a baseline need not state: no publication has them."""
DIMENSIONS: dict[type, Any] = {bool: Flags, int: Counts, float: Numbers, str: Names}


def _fields(form: Callable[[type], Any]) -> dict[str, Any]:
    """Return an optional field for each hyperparameter, in the form that create_model takes."""
    return {name: (form(of.kind) | None, None) for name, of in SEARCHED.items()}


class Fixed(create_model("Fixed", __base__=Strict, **_fields(lambda kind: kind))):  # type: ignore[misc]
    """Choices common to all searched trials; one that is neither fixed nor searched has Experiment's default."""


def _parameters_of_losses(value: object) -> object:
    """Return the parameters of each loss. In `bce`, `[bce, dice_bce]` and `bce:` they keep their defaults."""
    names = [value] if isinstance(value, str) else value
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return {name: {} for name in names}
    return {name: {} if of is None else of for name, of in value.items()} if isinstance(value, dict) else value


class Search(create_model("Search", __base__=Strict, **_fields(DIMENSIONS.__getitem__))):  # type: ignore[misc]
    """Dimensions of the search space, named like the fields of seg.experiment.Experiment. A single value is fixed."""

    model: Names
    loss: Annotated[dict[str, dict[str, Numbers]], BeforeValidator(_parameters_of_losses), Field(min_length=1)]
    """The losses, each with the dimensions of its own parameters. A parameter left out keeps its default."""


class Baseline(Fixed):
    """A configuration that is run before the search: the recipe, a published one, or one of the user's own.

    It inherits nothing from `fixed`: every choice is stated.
    """

    name: str = Field(min_length=1)
    model: str
    loss: str
    loss_parameters: dict[str, float] = Field(default_factory=dict)
    system: str = ""
    """The publication that this configuration is from; empty if there is none."""
    published: dict[str, float] = Field(default_factory=dict)
    """The publication's own figures by column, for the table.

    `train_` and `val_` columns are as in the table of epochs. Any other name is a score on its test images.
    """
    protocol: dict[str, int] = Field(default_factory=dict)
    """Numbers that the publication states: epochs, image_size, batch_size, train_images, test_images.

    The table names those in which a study differs.
    """
    remarks: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Other reasons why its figures are not comparable, a short phrase each."""

    @property
    def choices(self) -> dict[str, Any]:
        """The fields of seg.experiment.Experiment that the baseline states."""
        return self.model_dump(exclude_none=True, exclude={"name", "system", "published", "protocol", "remarks"})

    @model_validator(mode="after")
    def _check(self) -> Self:
        optional = UNSTATED | ({"encoder_lr"} if self.encoder_freeze else set())
        missing = [name for name in SEARCHED if getattr(self, name) is None and name not in optional]
        if missing:
            raise refusal([(name, "missing; a baseline states every choice") for name in missing])
        return self


def _budget(value: object) -> object:
    """Check a budget's form. `none` removes the budget of a study that has one."""
    if value is None or value == "none":
        return None
    budget.parse(str(value))
    return value


class Spec(Strict):
    """The specification of a study.

    If image_size, trials, epochs, early_stopping.min_epochs or finalists is left out, study.driver.planning chooses it
    by the data, the machine and the budget. The defaults here are for a study without planning, such as a simulated
    one.
    """

    description: str = ""
    dataset: str
    image_size: int = 128
    """The side of the square training image, in pixels."""
    trials: int = Field(default=20, ge=1)
    """The number of trials, including baselines but not the seed replicates of the finalists."""
    epochs: int = Field(default=30, ge=1)
    budget: Annotated[str | None, BeforeValidator(_budget)] = None
    """The most that the study may cost, as in 2h, 40gpu-hours or 25usd: see study.search.account."""
    seed: int = Field(default=0, ge=0)
    given_objectives: Objectives = Field(default=Objective(), alias="objective")
    """One objective, or a list that is searched for its Pareto set.

    The first one decides early stopping and a trial's best epoch.
    """
    sampler: Literal["tpe", "gp", "cmaes", "random", "qmc"] = "gp"
    """The sampler that proposes the next trial: a name in study.search.samplers.SAMPLERS.

    The default is what docs/search.md shows to be best: usually gp. It is tpe with several objectives, or with so many
    trials that proposals taking a second would delay the lanes.
    """
    early_stopping: EarlyStopping = EarlyStopping()
    finalists: Annotated[Finalists, BeforeValidator(_finalists)] = Finalists()
    compare: str | None = None
    """The choice whose values are compared, such as `model`: see study.search.comparison."""
    encoder: Encoder = Encoder()
    resources: Resources = Resources()
    fixed: Fixed = Fixed()
    search: Search | None = None
    """The search space, which may be left out only if every trial is a baseline."""
    baselines: Annotated[tuple[Baseline, ...], Field(strict=False)] = ()
    """The configurations that run before the search, the recipe first.

    study.driver.planning leaves out the published ones that do not fit the budget.
    """
    published: Literal["fitting", "all"] = "fitting"
    """The published baselines to run: those that fit the budget, or `all` of them whatever they cost."""

    @property
    def objectives(self) -> tuple[objective.Objective, ...]:
        given = self.given_objectives
        several = given if isinstance(given, tuple) else (given,)
        return tuple(objective.Objective(one.metric, one.mode) for one in several)

    @property
    def objective(self) -> objective.Objective:
        """The first objective."""
        return self.objectives[0]

    @property
    def models(self) -> list[str]:
        """Every architecture that some trial may have, sorted."""
        searched = self.search.model if self.search else ()
        return sorted({*searched, *(baseline.model for baseline in self.baselines)})

    @property
    def losses(self) -> Mapping[str, Mapping[str, Dimension]]:
        """The searched losses, each with the dimensions of its parameters."""
        return self.search.loss if self.search else {}

    @model_validator(mode="before")
    @classmethod
    def _choose_sampler(cls, raw: object) -> object:
        if not isinstance(raw, dict):
            return raw
        several = isinstance(raw.get("objective"), list) and len(raw["objective"]) > 1
        many = isinstance(raw.get("trials"), int) and raw["trials"] > MAX_GP_TRIALS
        return {"sampler": "tpe"} | raw if several or many else raw

    def to_json(self) -> dict[str, Any]:
        """Return the whole spec, including defaults, as plain dicts and lists."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)
