"""A study's specification: what is searched, over which data, for how long. YAML in, validated and immutable out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from study import spec_file
from study.dimension import Counts, Dimension, Flags, Names, Numbers, Strict
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


class Objective(Strict):
    """The column that trials are compared by, at their best epoch."""

    metric: str = "val_iou"
    mode: Literal["max", "min"] = "max"


class EarlyStopping(Strict):
    """`asha`: of the trials that reach a rung, all but the best 1 / `reduction_factor` are stopped (Li et al. 2020,
    arXiv:1810.05934). The first rung is at `min_epochs`, each next one at `reduction_factor` times as many."""

    scheduler: Literal["asha", "none"] = "asha"
    min_epochs: int = Field(default=1, ge=1)
    reduction_factor: int = Field(default=3, ge=2)


class Finalists(Strict):
    """`finalists: 2` is short for `{top: 2}`."""

    top: int = Field(default=1, ge=0)
    """Best trials that are scored on the sealed test split."""
    seeds: int = Field(default=1, ge=1)
    """With which each of them is trained, its own among them: what differs between them is luck."""

    @property
    def replicates(self) -> int:
        """Trials beside those of the search, where `top` of them finish."""
        return self.top * (self.seeds - 1)


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

    price_per_hour: float | None = Field(default=None, ge=0)
    """Of a machine, in a currency of your own: what trials cost, of which each lane has its share."""

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


class Baseline(Fixed):
    """A published configuration, run before the search. It inherits nothing from `fixed`: every choice is stated."""

    name: str = Field(min_length=1)
    model: str
    loss: str
    loss_parameters: dict[str, float] = Field(default_factory=dict)
    system: str = ""
    """Which publication this is a configuration of."""
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
        optional = {"oversample", "encoder_frozen_epochs"} | ({"encoder_lr"} if self.encoder_freeze else set())
        missing = [name for name in Fixed.model_fields if getattr(self, name) is None and name not in optional]
        if missing:
            raise refusal([(name, "missing; a baseline states every choice") for name in missing])
        return self


class Spec(Strict):
    description: str = ""
    dataset: str
    image_size: int
    """Side of the square training image, in pixels."""
    trials: int = Field(ge=1)
    """Baselines included, seed replicates of the finalists not."""
    epochs: int = Field(ge=1)
    seed: int = Field(default=0, ge=0)
    objective: Objective = Objective()
    early_stopping: EarlyStopping = EarlyStopping()
    finalists: Annotated[Finalists, BeforeValidator(_finalists)] = Finalists()
    encoder: Encoder = Encoder()
    resources: Resources = Resources()
    fixed: Fixed = Fixed()
    search: Search | None = None
    """Only a study of nothing but baselines needs none."""
    baselines: Annotated[tuple[Baseline, ...], Field(strict=False)] = ()

    @property
    def models(self) -> list[str]:
        """Every architecture that some trial may have, sorted."""
        searched = self.search.model if self.search else ()
        return sorted({*searched, *(baseline.model for baseline in self.baselines)})

    @property
    def losses(self) -> Mapping[str, Mapping[str, Dimension]]:
        """Searched losses, each with the dimensions of its parameters."""
        return self.search.loss if self.search else {}

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
    elif not path.is_file():
        names = _bundled_names()
        advice = f"{did_you_mean(name_or_path, names)} (bundled: {', '.join(names)})"
        raise SpecError(source, "", f"neither a bundled study nor a file{advice}")
    raw = spec_file.read(path, source)
    return Spec.from_json(raw | {"baselines": _borrowed(raw.get("baselines"), source)}, overrides, source)


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
