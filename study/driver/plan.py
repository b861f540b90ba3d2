"""The plan of a study: everything that it is run with."""

import math
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from study.driver.preparation import Prepared
from study.ranking import leaders
from study.ranking.objective import Objective
from study.search.account import Account, Meter
from study.spec import Spec
from study.spec.budget import parse
from study.store import Store
from study.store.records import Record
from study.trials.messages import LaneSettings

ROOM_SECONDS = 30.0
"""Seconds after which a lane that finds no room for its workers leaves its trial to another lane."""
ADDED_SECONDS = 900.0
"""The same limit in seconds if nodes are added on demand, which takes minutes: a waiting lane is the demand."""


@dataclass(frozen=True)
class Plan:
    """Everything a study is run with."""

    name: str
    spec: Spec
    store: Store
    command: str
    """The command line that was typed."""
    prepared: Prepared
    optuna_storage: str | None = field(default=None, repr=False)
    """The address of a database that mirrors the study for optuna-dashboard. It may hold a password."""
    session: str = field(default_factory=lambda: uuid.uuid4().hex)
    """The session id of this process alone. study.json names the session that may write."""
    began: float = field(default_factory=time.monotonic)
    """The time when the command was typed, by time.monotonic. A budget in hours counts from then on."""

    @property
    def objective(self) -> Objective:
        return self.spec.objective

    @property
    def settings(self) -> LaneSettings:
        prepared, allotment, cluster = self.prepared, self.prepared.allotment, self.prepared.cluster
        return LaneSettings(
            store_uri=self.store.uri,
            pack_folder=str(prepared.pack.folder),
            weights_dir=str(prepared.weights_dir) if prepared.weights_dir else None,
            objective=self.objective,
            workers=allotment.workers,
            gpus_per_worker=allotment.gpus_per_worker,
            threads=allotment.threads,
            hang_seconds=60 * self.spec.resources.hang_minutes,
            store_seconds=60 * self.spec.resources.store_minutes,
            study=self.name,
            cores=allotment.cores,
            one_node=allotment.one_node,
            room_seconds=ADDED_SECONDS if cluster.elastic else ROOM_SECONDS if cluster.joined else math.inf,
            elsewhere=prepared.elsewhere,
            feature_bytes=self.spec.resources.feature_bytes,
        )

    @property
    def most_lanes(self) -> int:
        """The most lanes at a time, however large the cluster grows."""
        fixed = self.spec.resources.lanes != "auto" or not self.prepared.cluster.joined
        return self.prepared.allotment.lanes if fixed else self.spec.trials

    def contenders(self, records: Iterable[Record]) -> list[Record]:
        """Return the trials that may still be scored at the end; see leaders.contenders."""
        return leaders.contenders(records, self.spec.objectives, self.spec.finalists.top, self.spec.compare)

    def account(self, meter: Meter, records: Iterable[Record], say: Callable[[str], None]) -> Account:
        """Return the account of the study's budget. `records`: the trials of earlier sessions."""
        budget = parse(self.spec.budget) if self.spec.budget else None
        gpus = self.prepared.allotment.workers * self.prepared.allotment.gpus_per_worker
        prices, reserved = self.spec.resources.price_per_hour or {}, self.prepared.reserved_seconds / 3600
        return Account(budget, prices, gpus, meter, records, say, reserved)

    def patient_store(self, notice: Callable[[str], None]) -> Store:
        """Return the store with retries, so that it outlasts a bad connection. `notice` receives lines about it."""
        return self.store.patient(self.settings.store_seconds, notice)
