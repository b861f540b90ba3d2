"""The objectives of a study: what it searches for."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from study.store.records import Record

COSTS = ("latency_ms", "params_total", "params_trainable", "train_seconds", "gpu_seconds")
"""Columns of the table that say what a trial costs; less is better. A study may search for them beside its scores."""


@dataclass(frozen=True)
class Objective:
    """A column of the epoch rows, or one of COSTS, and whether more of it is better.

    Trials are compared at their best epoch. The first objective, which is a column of the epoch rows, decides which
    epoch that is.
    """

    metric: str
    mode: Literal["max", "min"]

    @property
    def sign(self) -> int:
        """The factor to multiply values by so that less is better."""
        return -1 if self.mode == "max" else 1

    def value(self, record: Record) -> float | None:
        """Return the trial's value at its best epoch, or what it cost. None if there is no finite value."""
        value = getattr(record, self.metric) if self.metric in COSTS else record.best.get(self.metric)
        return value if value is not None and math.isfinite(value) else None

    def better(self, value: float, than: float) -> bool:
        return value > than if self.mode == "max" else value < than

    def scored(self, row: dict[str, Any]) -> bool:
        value = row.get(self.metric)
        return value is not None and math.isfinite(value)

    def kept_row(self, rows: list[dict[str, Any]], keep: str = "best") -> dict[str, Any] | None:
        """Return the row of the epoch whose weights a trial keeps, see seg.experiment.Experiment.keep.

        With `keep` "best" this is the first row with the best value, otherwise the last row with a value. None if no
        row has a value: NaN, infinity and None do not count as one.
        """
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
    """Return the trial's value of each objective. None if it lacks one, so that it cannot be compared."""
    found = [objective.value(record) for objective in objectives]
    return None if None in found else [value for value in found if value is not None]


def objectives(raw: Mapping[str, Any] | Iterable[Mapping[str, Any]]) -> tuple[Objective, ...]:
    """Return the objectives of a spec's JSON, which holds one or a list of several."""
    return tuple(Objective(**one) for one in ([raw] if isinstance(raw, Mapping) else raw))
