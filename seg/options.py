"""The augmentations, loss parameters, and learning-rate schedules that an experiment can choose by name."""

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


DEFAULTS: dict[str, dict[str, float]] = {
    "bce": {},
    "dice_bce": {"dice_weight": 1.0},
    "ce": {},
    "weighted_ce": {"power": 0.5},
    "focal_tversky": {"alpha": 0.7, "gamma": 4 / 3},
}
"""The parameters of each loss in seg.losses, with the values that are used if a parameter is not given."""

RANGES: dict[str, tuple[float, float]] = {
    "dice_weight": (0.0, math.inf),
    "power": (0.0, 2.0),
    "alpha": (0.01, 0.99),
    "gamma": (1.0, 3.0),
}
"""The lowest and highest value of each loss parameter.

alpha: at 0 a prediction of only background would be perfect, at 1 one of only foreground. gamma: as in the paper; below
1 it would reverse the focus.
"""


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
