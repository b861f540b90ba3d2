"""What a study has used of its machines: the time that its searches lasted, and that of each kind of node meanwhile.

Kept in the study's store as spent.json, so that a session that goes on counts what the ones before it have used.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from study.resources import Machine
from study.store import Store

FILE = "spent.json"
DEFAULT = "default"
"""Among prices: that of nodes whose kind has none of its own, or is not known."""
SAVE_SECONDS = 10.0


@dataclass(frozen=True)
class Used:
    hours: float = 0.0
    node_hours: Mapping[str, float] = field(default_factory=dict)
    """By kind of node; of two nodes side by side, the hours of both."""

    def usd(self, prices: Mapping[str, float]) -> float:
        """`prices`: an hour of each kind of node."""
        return sum(hours * price(prices, kind) for kind, hours in self.node_hours.items())


def price(prices: Mapping[str, float], kind: str) -> float:
    return prices.get(kind, prices[DEFAULT])


def read_used(store: Store) -> Used:
    """Nothing where no session has written anything yet, or the study is older than that."""
    try:
        raw: dict[str, Any] = store.read_json(FILE)
    except FileNotFoundError:
        return Used()
    return Used(raw["hours"], raw["node_hours"])


class Meter:
    """Runs from its beginning on. Several threads may read it."""

    def __init__(
        self,
        before: Used,
        nodes: Callable[[], Sequence[Machine]],
        clock: Callable[[], float] = time.monotonic,
        began: float | None = None,
    ):
        """`nodes`: those that are there now. `clock`: in seconds. `began`: by that clock, when the session did, if that
        was earlier: its hours count from then on, those of its nodes from now on."""
        earlier = 0.0 if began is None else (clock() - began) / 3600
        self._hours, self._node_hours = before.hours + earlier, defaultdict(float, before.node_hours)
        self._nodes, self._clock = nodes, clock
        self._read = self._saved = clock()
        self._lock = threading.Lock()

    def read(self) -> Used:
        """All so far. What nodes are there now is taken to have been there since the last reading: look often."""
        with self._lock:
            now = self._clock()
            hours, self._read = (now - self._read) / 3600, now
            self._hours += hours
            for node in self._nodes():
                self._node_hours[node.kind] += hours
            return Used(self._hours, dict(self._node_hours))

    def usd_per_hour(self, prices: Mapping[str, float]) -> float:
        """Now."""
        return sum(price(prices, node.kind) for node in self._nodes())

    def save(self, store: Store) -> None:
        used = self.read()
        store.write_json(FILE, {"hours": used.hours, "node_hours": dict(used.node_hours)})
        self._saved = self._read

    def save_at_times(self, store: Store) -> None:
        """No more often than every SAVE_SECONDS: so much is lost with the process at most."""
        if self._clock() - self._saved >= SAVE_SECONDS:
            self.save(store)
