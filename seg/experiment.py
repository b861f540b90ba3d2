"""An experiment: one fully determined training run. Every choice is a field, including the seed."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from seg import models
from seg.options import AUGMENTATIONS, DEFAULTS, RANGES, SCHEDULES

CHOICES: dict[str, tuple[str, ...]] = {
    "loss": tuple(DEFAULTS),
    "augment": tuple(AUGMENTATIONS),
    "encoder_weights": ("imagenet", "none"),
    "normalize": ("imagenet", "unit"),
    "optimizer": ("adam", "adamw"),
    "schedule": tuple(SCHEDULES),
    "precision": ("auto", "bf16", "fp32"),
    "keep": ("best", "last", "average"),
}


@dataclass(frozen=True)
class Experiment:
    """The choices of one training run, checked on construction.

    Raises ValueError with the field, the value, and what is allowed.
    """

    dataset: str
    """The dataset's name, as seg.data.load takes it: `isic2016`, `isic2016:150`."""
    image_size: int
    """The side of the square training image, in pixels."""
    model: str
    loss: str
    epochs: int
    """The length of the run and of the learning-rate schedule, in epochs."""
    decoder_lr: float
    encoder_lr: float | None = None
    """The encoder's learning rate; None if the encoder is frozen."""
    encoder_freeze: bool = False
    """Whether the encoder is frozen: it has no gradients, and its BatchNorm statistics stay as they were loaded."""
    encoder_frozen_epochs: int = 0
    """The number of epochs at the start in which the encoder is frozen; after them it is fine-tuned."""
    encoder_weights: str = "imagenet"
    loss_parameters: Mapping[str, float] = field(default_factory=dict)
    batch_size: int = 16
    """The number of images in one optimiser step, over all workers."""
    optimizer: str = "adamw"
    weight_decay: float = 0.0
    schedule: str = "cosine"
    augment: str = "flips"
    normalize: str = "imagenet"
    """`imagenet`: subtract ImageNet's mean and divide by its deviation; `unit`: leave pixels in [0, 1]."""
    oversample: float = 0.0
    """The power of an image's sampling weight, in [0, 1]; 0: every image once per epoch. See seg.batches.weights."""
    precision: str = "auto"
    """The precision of convolutions and matrix products; weights are float32. See seg.device.precision.

    `auto`: bf16 if the device has instructions for it.
    """
    keep: str = "best"
    """The weights that are validated, and kept at the end.

    `best`: those of the epoch with the best validation score, which over few images is the luckiest one. `last`: those
    of the last epoch. `average`: their exponential moving average over all steps so far, see seg.optim.
    """
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}: {getattr(self, name)!r} is not known; choose from {', '.join(allowed)}")
        models.check(self.model)
        if self.encoder_weights != "none" and not models.pretrained(self.model):
            raise ValueError(f"encoder_weights: {self.encoder_weights!r} must be none: {self.model} has no others")
        for name in ("image_size", "epochs", "batch_size"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)!r} must be a whole number of at least 1")
        self._check_rates()
        self._check_frozen_epochs()
        if not (_finite(self.weight_decay) and self.weight_decay >= 0):
            raise ValueError(f"weight_decay: {self.weight_decay!r} must be 0 or more")
        if not (_finite(self.oversample) and 0 <= self.oversample <= 1):
            raise ValueError(f"oversample: {self.oversample!r} must be between 0 and 1")
        self._check_loss_parameters()

    def _check_rates(self) -> None:
        if not (_finite(self.decoder_lr) and self.decoder_lr > 0):
            raise ValueError(f"decoder_lr: {self.decoder_lr!r} must be above 0")
        if self.encoder_freeze and self.encoder_lr is not None:
            raise ValueError(f"encoder_lr: {self.encoder_lr!r} is given, but encoder_freeze is true; leave it out")
        if not self.encoder_freeze and not (_finite(self.encoder_lr) and self.encoder_lr > 0):
            raise ValueError(f"encoder_lr: {self.encoder_lr!r} must be above 0 where the encoder is not frozen")

    def _check_frozen_epochs(self) -> None:
        epochs = self.encoder_frozen_epochs
        if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 0:
            raise ValueError(f"encoder_frozen_epochs: {epochs!r} must be a whole number of at least 0")
        if epochs and self.encoder_freeze:
            raise ValueError(f"encoder_frozen_epochs: {epochs} is given, but encoder_freeze is true; leave it out")

    def frozen_in(self, epoch: int) -> bool:
        """Whether the encoder is frozen in `epoch`, counted from 1."""
        return self.encoder_freeze or epoch <= self.encoder_frozen_epochs

    def _check_loss_parameters(self) -> None:
        allowed = DEFAULTS[self.loss]
        for name, value in self.loss_parameters.items():
            if name not in allowed:
                raise ValueError(
                    f"loss_{name}: the loss {self.loss} has no such parameter; it has {', '.join(allowed) or 'none'}"
                )
            if not _finite(value):
                raise ValueError(f"loss_{name}: {value!r} must be a finite number")
            low, high = RANGES[name]
            if not low <= value <= high:
                raise ValueError(f"loss_{name}: {value!r} must be {_between(low, high)}")
        object.__setattr__(self, "loss_parameters", {**allowed, **self.loss_parameters})

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Experiment":
        """Return the experiment that `to_json` wrote. Raises ValueError if a field is unknown or missing."""
        known = {f.name for f in dataclasses.fields(cls)}
        if unknown := sorted(set(raw) - known):
            raise ValueError(f"{unknown[0]}: not a field of an experiment; the fields are {', '.join(sorted(known))}")
        required = {f.name for f in dataclasses.fields(cls) if f.default is f.default_factory is dataclasses.MISSING}
        if missing := sorted(required - set(raw)):
            raise ValueError(f"{missing[0]}: missing")
        return cls(**raw)


def _between(low: float, high: float) -> str:
    return f"between {low:g} and {high:g}" if math.isfinite(high) else f"{low:g} or more"


def _finite(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)
