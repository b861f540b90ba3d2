"""What a study may cost: hours, GPU-hours or dollars; how much of that is spent, and whether it holds another trial."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from study.meter import Meter, Used
from study.records import Record, State

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
    """`90min`, `2h`, `1.5d`, `40gpu-hours`, `25usd`. ValueError where it is none of these."""
    found = FORM.fullmatch(text.strip().lower())
    if not found or found["unit"] not in UNITS or not float(found["amount"]):
        raise ValueError(f"{text!r} given; must be an amount and its unit, as in 90min, 2h, 40gpu-hours or 25usd")
    unit, factor = UNITS[found["unit"]]
    return Budget(float(found["amount"]) * factor, unit)


def gpu_hours(record: Record) -> float:
    """In training and validation; of what was run again from its beginning, the attempts before it too."""
    rows = [*record.epochs, *(row for attempt in record.extra.get("attempts", []) for row in attempt["epochs"])]
    return record.gpus * sum(row["seconds"] for row in rows) / 3600


class Account:
    """A study's budget while it runs: told of every change of a record.

    Hours and dollars are the meter's: of the study as a whole, and of all nodes that are there. GPU-hours are those of
    the table's `gpu_seconds`.
    """

    def __init__(
        self,
        budget: Budget | None,
        prices: Mapping[str, float],
        gpus: float,
        meter: Meter,
        records: Iterable[Record] = (),
        say: Callable[[str], None] = lambda line: None,
        reserved_hours: float = 0.0,
    ):
        """Without a budget there is always room. `prices`: an hour of each kind of node. `gpus`: of a lane. `say` is
        told in one line when there is no room any more. `reserved_hours`: of a budget in hours or money, for what
        comes after the trials."""
        self._reserved_hours = reserved_hours
        self._budget, self._prices, self._gpus, self.meter = budget, prices, gpus, meter
        self._say, self.closed = say, False
        """Whether a trial was refused: none is begun from then on."""
        self._gpu_hours: dict[int, float] = {}
        self._running: dict[int, Record] = {}
        self._lengths: dict[int, float] = {}
        """Hours that each searched trial with a score has trained, of those that have ended or are paused. The recipe,
        which is not stopped early, and published configurations are none of them: they take longer."""
        self._total_gpu_hours = self._total_length = 0.0
        for record in records:
            self.change(record)

    def change(self, record: Record) -> None:
        if self._budget is None:
            return
        hours = gpu_hours(record)
        self._total_gpu_hours += hours - self._gpu_hours.get(record.trial, 0.0)
        self._gpu_hours[record.trial] = hours
        self._running.pop(record.trial, None)
        if record.state is State.RUNNING and not record.paused_at:
            self._running[record.trial] = record
        if record.source == "search" and (record.state.scored or record.paused_at):
            self._total_length += record.train_seconds / 3600 - self._lengths.get(record.trial, 0.0)
            self._lengths[record.trial] = record.train_seconds / 3600

    @property
    def spent(self) -> float:
        """In the budget's unit."""
        if self._budget is None:
            return 0.0
        if self._budget.unit == "GPU-hours":
            return self._total_gpu_hours
        used = self.meter.read()
        return used.hours if self._budget.unit == "hours" else used.usd(self._prices)

    @property
    def bounded(self) -> bool:
        return self._budget is not None

    @property
    def exhausted(self) -> bool:
        return self._budget is not None and self._left <= 0

    @property
    def _left(self) -> float:
        """In the budget's unit, less what is reserved."""
        assert self._budget is not None
        rates = {"hours": 1.0, "usd": self.meter.usd_per_hour(self._prices) if self._prices else 0.0}
        return self._budget.amount - self._reserved_hours * rates.get(self._budget.unit, 0.0) - self.spent

    def holds_another(self, hours: float | None = None, at_least: float = 0.0) -> bool:
        """Whether one more trial would end before the budget does, of so many `hours`: by default, as long as those so
        far on average, and `at_least` so long. Before any has ended, whether that much is left."""
        if self._budget is None or self.closed:
            return not self.closed
        left = self._left
        self.closed = left <= 0 or self._needed(self._budget.unit, hours, at_least) > left
        if self.closed:
            self._say(f"budget nearly used ({self}): no new trials will start; running trials may finish")
        return not self.closed

    def holds(self, hours: float) -> bool:
        """Whether a trial that is to train so many hours more would end before the budget does."""
        return self._budget is None or self._needed(self._budget.unit, hours, 0.0) <= self._left

    def _needed(self, unit: Unit, hours: float | None, at_least: float) -> float:
        """By one more trial; of GPU-hours, by what still runs too: of the others' time it takes nothing away."""
        average = self._total_length / len(self._lengths) if self._lengths else 0.0
        length = max(average, at_least) if hours is None else hours
        if unit == "hours":
            return length
        if unit == "usd":
            return length * self.meter.usd_per_hour(self._prices)
        others = sum(max(0.0, length - record.train_seconds / 3600) for record in self._running.values())
        return self._gpus * (length + others)

    @property
    def hours_left(self) -> float:
        """At the rate at which it is spent now; infinite without a budget."""
        if self._budget is None:
            return math.inf
        left = max(0.0, self._left)
        rates = {"hours": 1.0, "usd": self.meter.usd_per_hour(self._prices) if self._prices else 0.0}
        rate = rates.get(self._budget.unit, self._gpus * len(self._running))
        return left / rate if rate else math.inf

    def __str__(self) -> str:
        """`1.25 of 2 hours`; empty without a budget."""
        return f"{self.spent:.3g} of {self._budget}" if self._budget else ""


UNBOUNDED = Account(None, {}, 0.0, Meter(Used(), list))
