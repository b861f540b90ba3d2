"""An experiment: one fully determined training run. Every choice is a field, including the seed."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from seg import models
from seg.options import DEFAULTS, HYPERPARAMETERS, LOSS_PARAMETERS, TRAINED, Hyperparameter


@dataclass(frozen=True)
class Experiment:
    """The choices of one training run, checked on construction against seg.options.HYPERPARAMETERS.

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
        if self.loss not in DEFAULTS:
            raise ValueError(f"loss: {self.loss!r} is not known; choose from {', '.join(DEFAULTS)}")
        models.check(self.model)
        if self.encoder_weights != "none" and not models.pretrained(self.model):
            raise ValueError(f"encoder_weights: {self.encoder_weights!r} must be none: {self.model} has no others")
        for name in ("image_size", "epochs"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)!r} must be a whole number of at least 1")
        for name, of in HYPERPARAMETERS.items():
            self._check(name, of)
        self._check_loss_parameters()

    def frozen_in(self, epoch: int) -> bool:
        """Whether the encoder is frozen in `epoch`, counted from 1."""
        return self.encoder_freeze or epoch <= self.encoder_frozen_epochs

    def _check(self, name: str, of: Hyperparameter) -> None:
        value = getattr(self, name)
        needs_training = of.where == TRAINED
        if needs_training and self.encoder_freeze:
            if value != getattr(Experiment, name):
                raise ValueError(f"{name}: {value!r} is given, but encoder_freeze is true; leave it out")
        elif problem := of.problem(value):
            raise ValueError(f"{name}: {problem}{f' where {of.where}' if needs_training else ''}")

    def _check_loss_parameters(self) -> None:
        allowed = DEFAULTS[self.loss]
        for name, value in self.loss_parameters.items():
            if name not in allowed:
                raise ValueError(
                    f"loss_{name}: the loss {self.loss} has no such parameter; it has {', '.join(allowed) or 'none'}"
                )
            if problem := LOSS_PARAMETERS[name].problem(value):
                raise ValueError(f"loss_{name}: {problem}")
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
