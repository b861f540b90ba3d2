"""What a study searches for."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from study.records import Record

COSTS = ("latency_ms", "params_total", "params_trainable", "train_seconds", "gpu_seconds")
"""What a trial costs, as columns of the table: less is better. What a study searches for beside its scores."""


@dataclass(frozen=True)
class Objective:
    """A column of the epoch rows, or one of COSTS, and whether more of it is better. Trials compare by their best
    epoch: that of the first objective, which is a column of the epoch rows."""

    metric: str
    mode: Literal["max", "min"]

    @property
    def sign(self) -> int:
        """What to multiply values with for less to be better."""
        return -1 if self.mode == "max" else 1

    def value(self, record: Record) -> float | None:
        """Of a trial: at its best epoch, or what it cost. None where it has none."""
        value = getattr(record, self.metric) if self.metric in COSTS else record.best.get(self.metric)
        return value if value is not None and math.isfinite(value) else None

    def better(self, value: float, than: float) -> bool:
        return value > than if self.mode == "max" else value < than

    def scored(self, row: dict[str, Any]) -> bool:
        value = row.get(self.metric)
        return value is not None and math.isfinite(value)

    def kept_row(self, rows: list[dict[str, Any]], keep: str = "best") -> dict[str, Any] | None:
        """The row of the epoch whose weights a trial keeps, see seg.experiment.Experiment.keep: the last row with a
        value, or with `keep` "best" the first one with the best value. None if no row has one: a NaN, an infinity or
        None is no score."""
        if keep != "best":
            return next((row for row in reversed(rows) if self.scored(row)), None)
        best = None
        for row in rows:
            if not self.scored(row):
                continue
            if best is None or self.better(row[self.metric], best[self.metric]):
                best = row
        return best


def values(record: Record, objectives: Sequence[Objective]) -> list[float] | None:
    """Of each objective; None where a trial lacks one of them: it cannot be compared."""
    found = [objective.value(record) for objective in objectives]
    return None if None in found else [value for value in found if value is not None]


def objectives(raw: Mapping[str, Any] | Iterable[Mapping[str, Any]]) -> tuple[Objective, ...]:
    """As a spec has them: one, or a list of several."""
    return tuple(Objective(**one) for one in ([raw] if isinstance(raw, Mapping) else raw))
