"""Each loss of seg.losses with its parameters, as a search sees them."""

import math

DEFAULTS: dict[str, dict[str, float]] = {
    "bce": {},
    "dice_bce": {"dice_weight": 1.0},
    "ce": {},
    "weighted_ce": {"power": 0.5},
    "focal_tversky": {"alpha": 0.7, "gamma": 4 / 3},
}
"""Parameters of each loss, with the value used where none is given."""

RANGES: dict[str, tuple[float, float]] = {
    "dice_weight": (0.0, math.inf),
    "power": (0.0, 2.0),
    "alpha": (0.01, 0.99),
    "gamma": (1.0, 3.0),
}
"""Lowest and highest value of each parameter. alpha: at 0 nothing but background would be perfect, at 1 nothing but
foreground. gamma: as in the paper; below 1 it would turn the focus around."""
