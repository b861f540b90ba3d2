"""The hyperparameters of an experiment, and the augmentations, losses and learning-rate schedules that it names."""

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Augmentation:
    horizontal_flip: bool = False
    vertical_flip: bool = False
    rotation_degrees: float = 0.0
    """The largest angle of rotation, uniform within ± this. The image is reflected at its edges."""
    zoom: float = 1.0
    """The largest factor by which an image is enlarged or reduced, log-uniform."""
    colour: float = 0.0
    """The largest change of brightness, contrast, and saturation: each factor is uniform within 1 ± this."""


AUGMENTATIONS: dict[str, Augmentation] = {
    "none": Augmentation(),
    "flips": Augmentation(horizontal_flip=True, vertical_flip=True),
    "hflip_rotate": Augmentation(horizontal_flip=True, rotation_degrees=60.0),
    "flips_rotate": Augmentation(horizontal_flip=True, vertical_flip=True, rotation_degrees=60.0),
    "hflip_rotate15": Augmentation(horizontal_flip=True, rotation_degrees=15.0),
    "flips_rotate15": Augmentation(horizontal_flip=True, vertical_flip=True, rotation_degrees=15.0),
    "hflip_rotate15_zoom_colour": Augmentation(True, rotation_degrees=15.0, zoom=1.25, colour=0.2),
    "hflip_rotate15_zoom2_colour": Augmentation(True, rotation_degrees=15.0, zoom=1.5, colour=0.3),
    "flips_rotate15_zoom_colour": Augmentation(True, True, rotation_degrees=15.0, zoom=1.25, colour=0.2),
    "turns_zoom": Augmentation(True, True, rotation_degrees=180.0, zoom=1.25),
    "turns_zoom_colour": Augmentation(True, True, rotation_degrees=180.0, zoom=1.25, colour=0.2),
}


# A learning-rate schedule gives the factor on the initial rates at a step (from 0) of all steps of a run.

WARM_UP = 0.3
"""The share of the steps in which `one_cycle` rises: OneCycleLR's default."""
BEGIN, END = 1 / 25, 1 / 25e4
"""The factors at which `one_cycle` begins and ends: OneCycleLR's defaults."""


def constant(step: int, steps: int) -> float:
    return 1.0


def cosine(step: int, steps: int) -> float:
    """Return a factor that falls from 1 towards 0 by half a cosine (Loshchilov & Hutter 2017, eq. 5, no restarts)."""
    return _between(1.0, 0.0, step / steps)


def one_cycle(step: int, steps: int) -> float:
    """Return a factor that rises to 1, then falls to almost 0, each by half a cosine.

    It is that of torch.optim.lr_scheduler.OneCycleLR (Smith & Topin 2018, arXiv:1708.07120), without its cycle of
    momentum.
    """
    top, last = WARM_UP * steps - 1, steps - 1
    if step <= top:
        return _between(BEGIN, 1.0, step / top)
    return _between(1.0, END, (step - top) / (last - top))


SCHEDULES: dict[str, Callable[[int, int], float]] = {"cosine": cosine, "constant": constant, "one_cycle": one_cycle}


def _between(start: float, end: float, share: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))


@dataclass(frozen=True)
class Hyperparameter:
    """A choice that every experiment makes: its values, and the words that tables and reports have for it.

    The specs of studies, the columns of tables, the report and docs/hyperparameters.md are made from these.
    """

    kind: type[bool | int | float | str]
    meaning: str
    """What the report says of its column."""
    label: str = ""
    """The heading of its column in the report; empty if its name with spaces is short enough."""
    choices: tuple[str, ...] = ()
    """All values, if they are names."""
    low: float = 0.0
    high: float = math.inf
    above: bool = False
    """Whether a value must be above `low`."""
    where: str = ""
    """The condition under which it exists; empty if it always does."""
    searched: bool = True
    """Whether a spec may have it under `search` and `fixed`."""

    @property
    def allowed(self) -> str:
        """The values that it may have, in words."""
        if self.kind is bool:
            return "true or false"
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        if self.kind is int:
            return f"a whole number of at least {self.low:g}"
        if self.above:
            return f"above {self.low:g}"
        return f"between {self.low:g} and {self.high:g}" if math.isfinite(self.high) else f"{self.low:g} or more"

    def problem(self, value: object) -> str:
        """Return what is wrong with a value, or an empty string."""
        if self._allows(value):
            return ""
        if self.choices:
            return f"{value!r} is not known; choose from {', '.join(self.choices)}"
        return f"{value!r} must be {self.allowed}"

    def _allows(self, value: object) -> bool:
        if self.kind is bool or self.choices:
            return value in (self.choices or (False, True))
        if isinstance(value, bool) or not isinstance(value, int if self.kind is int else (int, float)):
            return False
        return math.isfinite(value) and self.low <= value <= self.high and not (self.above and value == self.low)


TRAINED = "the encoder is not frozen"
"""The condition of what only a trained encoder has."""

HYPERPARAMETERS: dict[str, Hyperparameter] = {
    "encoder_freeze": Hyperparameter(
        bool,
        "The encoder gets no gradients and keeps its BatchNorm statistics.",
        "frozen",
        where="the model has pretrained weights",
    ),
    "encoder_lr": Hyperparameter(
        float, "Learning rate of the encoder at the start; empty where it is frozen.", above=True, where=TRAINED
    ),
    "decoder_lr": Hyperparameter(float, "Learning rate of the decoder at the start.", above=True),
    "batch_size": Hyperparameter(int, "Images in one optimiser step.", "batch", low=1),
    "optimizer": Hyperparameter(str, "Rule by which the weights follow the gradients.", choices=("adam", "adamw")),
    "weight_decay": Hyperparameter(float, "Pull of every weight towards 0; adamw's apart from the gradients."),
    "schedule": Hyperparameter(str, "Course of the learning rates over the epochs.", choices=tuple(SCHEDULES)),
    "augment": Hyperparameter(
        str, "Random changes to the training images, a new draw each time.", choices=tuple(AUGMENTATIONS)
    ),
    "normalize": Hyperparameter(
        str,
        "imagenet: less ImageNet's mean, divided by its deviation; unit: pixels from 0 to 1.",
        choices=("imagenet", "unit"),
    ),
    "encoder_weights": Hyperparameter(
        str,
        "Weights that the encoder begins with: encoder.weights in a spec.",
        choices=("imagenet", "none"),
        searched=False,
    ),
    "encoder_frozen_epochs": Hyperparameter(
        int, "Number of first epochs in which the encoder is frozen; then it is fine-tuned.", where=TRAINED
    ),
    "oversample": Hyperparameter(float, "Rare classes come up more often: 0 draws every image once an epoch.", high=1),
    "precision": Hyperparameter(
        str, "Number format of convolutions; auto: bf16 where the device has it.", choices=("auto", "bf16", "fp32")
    ),
    "keep": Hyperparameter(
        str,
        "Weights that are validated and kept: of the best epoch, of the last, or the average of the steps.",
        choices=("best", "last", "average"),
    ),
}
"""Every hyperparameter besides model and loss. Each is a field of seg.experiment.Experiment, which has the default."""

DEFAULTS: dict[str, dict[str, float]] = {
    "bce": {},
    "dice_bce": {"dice_weight": 1.0},
    "ce": {},
    "weighted_ce": {"power": 0.5},
    "focal_tversky": {"alpha": 0.7, "gamma": 4 / 3},
}
"""The parameters of each loss in seg.losses, with the values that are used if a parameter is not given."""

LOSS_PARAMETERS: dict[str, Hyperparameter] = {
    "dice_weight": Hyperparameter(float, "Weight of the Dice loss beside binary cross-entropy.", "Dice weight"),
    # Above 2, all weight would be on the rarest class.
    "power": Hyperparameter(
        float, "A class weighs its share of the training pixels to the minus this.", "weight power", high=2
    ),
    # At 0 a prediction of only background would be perfect, at 1 one of only foreground.
    "alpha": Hyperparameter(
        float,
        "Weight of missed pixels in the Tversky index; false ones weigh the rest to 1.",
        "Tversky α",
        low=0.01,
        high=0.99,
    ),
    # The paper's range: below 1 the focus would be reversed.
    "gamma": Hyperparameter(
        float, "The focal Tversky loss is (1 − Tversky index) to the power 1/γ.", "focal γ", low=1, high=3
    ),
}
"""The parameters that losses have, by the name that every loss with such a parameter uses."""


def hyperparameter(column: str) -> Hyperparameter | None:
    """Return the hyperparameter or loss parameter of a table's column, such as `loss_gamma`; None for any other."""
    return HYPERPARAMETERS.get(column) or LOSS_PARAMETERS.get(column.removeprefix("loss_"))
