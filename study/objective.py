"""What a study searches for."""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Objective:
    """A column of the epoch rows, and whether more of it is better. Trials compare by their best epoch."""

    metric: str
    mode: Literal["max", "min"]

    def better(self, value: float, than: float) -> bool:
        return value > than if self.mode == "max" else value < than

    def best_row(self, rows: list[dict[str, Any]]) -> dict[str, Any] | None:
        """The first row with the best value; None where there is no row."""
        best = None
        for row in rows:
            if best is None or self.better(row[self.metric], best[self.metric]):
                best = row
        return best
