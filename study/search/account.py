"""The budget of a study in hours, GPU-hours or dollars: how much is spent, and whether another trial still fits."""

import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from seg.cli import duration
from study.spec.budget import Budget, Unit
from study.store import Store
from study.store.records import SPENT, Record, State, Used, price

SAVE_SECONDS = 10.0


class Meter:
    """The meter of a study's machine time: hours since the search began, and node-hours by kind of node.

    The store keeps both, so that a resumed study counts on from there. Several threads may read the meter.
    """

    def __init__(
        self,
        before: Used,
        kinds: Callable[[], Sequence[str]],
        clock: Callable[[], float] = time.monotonic,
        began: float | None = None,
    ):
        """Continue from `before`, which earlier sessions used.

        `kinds` returns the kind of each current node, and `clock` the time in seconds. `began` is when the session
        began by that clock, if it was earlier. Hours count from `began` on, node-hours only from now on.
        """
        earlier = 0.0 if began is None else (clock() - began) / 3600
        self._hours, self._node_hours = before.hours + earlier, defaultdict(float, before.node_hours)
        self._kinds, self._clock = kinds, clock
        self._read = self._saved = clock()
        self._lock = threading.Lock()

    def read(self) -> Used:
        """Return all that was used so far.

        Assumes that the current nodes have existed since the previous call, so call it often.
        """
        with self._lock:
            now = self._clock()
            hours, self._read = (now - self._read) / 3600, now
            self._hours += hours
            for kind in self._kinds():
                self._node_hours[kind] += hours
            return Used(self._hours, dict(self._node_hours))

    def usd_per_hour(self, prices: Mapping[str, float]) -> float:
        """Return what all current nodes together cost per hour, in dollars."""
        return sum(price(prices, kind) for kind in self._kinds())

    def save(self, store: Store) -> None:
        used = self.read()
        store.write_json(SPENT, {"hours": used.hours, "node_hours": dict(used.node_hours)})
        self._saved = self._read

    def save_at_times(self, store: Store) -> None:
        """Save if SAVE_SECONDS have passed since the last time: a crash loses at most that much."""
        if self._clock() - self._saved >= SAVE_SECONDS:
            self.save(store)


def gpu_hours(record: Record) -> float:
    """Return the GPU-hours of a trial's training and validation.

    If the trial was restarted from its beginning, its earlier attempts count too.
    """
    rows = [*record.epochs, *(row for attempt in record.extra.get("attempts", []) for row in attempt["epochs"])]
    return record.gpus * sum(row["seconds"] for row in rows) / 3600


class Account:
    """The budget of a running study; `change` must be called after every change of a record.

    Hours and dollars come from the meter: they cover the whole study and all of its nodes. GPU-hours are the trials'
    `gpu_seconds`, including earlier attempts.
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
        """Start with the trials of earlier sessions, `records`. Without a budget every trial fits.

        `prices`: dollars per hour of each kind of node. `gpus`: GPUs per lane. `say` is called with one line once no
        further trial fits. `reserved_hours`: the hours kept for what follows the trials, if the budget is in hours
        or dollars.
        """
        self._reserved_hours = reserved_hours
        self._budget, self._prices, self._gpus, self.meter = budget, prices, gpus, meter
        self._say, self.closed = say, False
        """Whether a trial was refused: after that, no other trial begins."""
        self._gpu_hours: dict[int, float] = {}
        self._running: dict[int, Record] = {}
        self._lengths: dict[int, float] = {}
        """Training hours of each searched trial that is paused or has ended with a score.

        The recipe, which is not stopped early, and published configurations do not count: they take longer.
        """
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
        """The amount spent, in the budget's unit."""
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
        """The amount left after subtracting the reserve, in the budget's unit."""
        assert self._budget is not None
        rates = {"hours": 1.0, "usd": self.meter.usd_per_hour(self._prices) if self._prices else 0.0}
        return self._budget.amount - self._reserved_hours * rates.get(self._budget.unit, 0.0) - self.spent

    def holds_another(self, hours: float | None = None, at_least: float = 0.0) -> bool:
        """Whether one more trial would end within the budget; always false after the first refusal.

        `hours` is the trial's length: by default the average so far, and not less than `at_least`. Before any trial
        has ended, `at_least` alone counts.
        """
        if self._budget is None or self.closed:
            return not self.closed
        left = self._left
        self.closed = left <= 0 or self._needed(self._budget.unit, hours, at_least) > left
        if self.closed:
            self._say(f"budget nearly used ({self}): no new trials will start; running trials may finish")
        return not self.closed

    def holds(self, hours: float) -> bool:
        """Whether a trial that still has to train `hours` would end within the budget."""
        return self._budget is None or self._needed(self._budget.unit, hours, 0.0) <= self._left

    def _needed(self, unit: Unit, hours: float | None, at_least: float) -> float:
        """Return what one more trial needs, in the budget's unit.

        In GPU-hours this includes the rest of the running trials. In hours and dollars they cost nothing extra.
        """
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
        """Hours until the budget is spent at the current rate; infinite if there is no budget or the rate is 0."""
        if self._budget is None:
            return math.inf
        left = max(0.0, self._left)
        rates = {"hours": 1.0, "usd": self.meter.usd_per_hour(self._prices) if self._prices else 0.0}
        rate = rates.get(self._budget.unit, self._gpus * len(self._running))
        return left / rate if rate else math.inf

    def __str__(self) -> str:
        """Return, for example, `3 min 20 s of 4 min 00 s` or `7.25 of 25 usd`; empty without a budget."""
        if self._budget is None:
            return ""
        if self._budget.unit == "hours":
            return f"{duration(3600 * self.spent)} of {duration(3600 * self._budget.amount)}"
        return f"{self.spent:.3g} of {self._budget}"


UNBOUNDED = Account(None, {}, 0.0, Meter(Used(), list))
