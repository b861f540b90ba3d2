"""The forms of a budget: hours, GPU-hours or money."""

import re
from dataclasses import dataclass
from typing import Literal

Unit = Literal["hours", "GPU-hours", "usd"]
UNITS: dict[str, tuple[Unit, float]] = {
    "min": ("hours", 1 / 60),
    "h": ("hours", 1.0),
    "d": ("hours", 24.0),
    "gpu-hours": ("GPU-hours", 1.0),
    "usd": ("usd", 1.0),
}
FORM = re.compile(r"(?P<amount>\d+(\.\d+)?)\s*(?P<unit>[a-z-]+)")


@dataclass(frozen=True)
class Budget:
    amount: float
    unit: Unit

    def __str__(self) -> str:
        return f"{self.amount:.4g} {self.unit}"


def parse(text: str) -> Budget:
    """Return the budget of `90min`, `2h`, `1.5d`, `40gpu-hours` or `25usd`. Raises ValueError for any other form."""
    found = FORM.fullmatch(text.strip().lower())
    if not found or found["unit"] not in UNITS or not float(found["amount"]):
        raise ValueError(f"{text!r} given; must be an amount and its unit, as in 90min, 2h, 40gpu-hours or 25usd")
    unit, factor = UNITS[found["unit"]]
    return Budget(float(found["amount"]) * factor, unit)
