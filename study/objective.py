"""What a study searches for."""

import math
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Objective:
    """A column of the epoch rows, and whether more of it is better. Trials compare by their best epoch."""

    metric: str
    mode: Literal["max", "min"]

    def better(self, value: float, than: float) -> bool:
        return value > than if self.mode == "max" else value < than

    def scored(self, row: dict[str, Any]) -> bool:
        value = row.get(self.metric)
        return value is not None and math.isfinite(value)

    def best_row(self, rows: list[dict[str, Any]]) -> dict[str, Any] | None:
        """The first row with the best value; None where no row has one: a NaN, an infinity or None is no score."""
        best = None
        for row in rows:
            if not self.scored(row):
                continue
            if best is None or self.better(row[self.metric], best[self.metric]):
                best = row
        return best
