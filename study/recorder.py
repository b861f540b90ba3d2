"""Keeps the records while trials run, on real lanes or simulated ones: the one writer of every trial's record."""

import dataclasses
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from study.blobs import BackgroundWriter
from study.messages import Failure, LaneSettings
from study.proposal import Proposal
from study.records import Record, State, encode_record, now, record_name
from study.schedulers import Decision
from study.search import Search
from study.store import Store
from study.tidy import LATE_SECONDS, end_in_store, remove_unnamed

MOMENT_SECONDS = 3.0
SESSION_SECONDS = 15.0
"""Between two looks whether another process has taken the study over."""


def _paused_at(epoch: int) -> str:
    return f"paused at epoch {epoch}: goes on once it is among the best at this rung"


class Recorder:
    """Every event of a trial -> its record in the store, then the search and the progress display."""

    def __init__(
        self,
        store: Store,
        settings: LaneSettings,
        earlier: list[Record],
        search: Search,
        contenders: Callable[[Iterable[Record]], list[Record]],
        on_change: Callable[[Record], None],
        check_session: Callable[[], None] = lambda: None,
        now: Callable[[], str] = now,
    ):
        """`contenders`: of some records, those that may be scored at the end; who is none, will be none whatever is to
        come. `now`: as study.records.now, of the clock by which the trials run."""
        self.records = {record.trial: record for record in earlier}
        self._store, self._settings, self._contenders = store, settings, contenders
        self._search = search
        self._on_change, self._check_session, self._now = on_change, check_session, now
        self._checked = time.monotonic()
        self._writer = BackgroundWriter(store)
        self._kept = {record.trial for record in contenders(earlier)}
        self._on_lanes: set[int] = set()
        for record in search.stopped:
            self._end(record, State.PRUNED, search.why_stopped(record))
        self.end_settled()

    def tick(self) -> None:
        """Many times a second: a store that is given up ends the study, even while every lane waits for it too."""
        self._writer.check()
        if time.monotonic() - self._checked > SESSION_SECONDS:
            self._checked = time.monotonic()
            self._writer.then("session", self._check_session)

    def close(self, when_slow: Callable[[], None] = lambda: None) -> None:
        """All written; what no record names is gone: a lane may have written it late, or died before it could tidy.

        `when_slow` is called once where that takes more than a moment."""
        records = [record for record in self.records.values() if record.state.ended]

        def tidy() -> None:
            self._check_session()
            remove_unnamed(self._store, records)

        self._writer.then("tidy", tidy)
        if not self._writer.flush(MOMENT_SECONDS):
            when_slow()
            self._writer.flush()

    def begin(self, proposal: Proposal) -> None:
        """A lane takes the trial."""
        record = proposal.record or Record(
            trial=proposal.trial,
            id=uuid.uuid5(uuid.NAMESPACE_URL, f"{self._store.uri}#{proposal.trial}").hex[:8],
            state=State.RUNNING,
            source=proposal.source,
            experiment=proposal.experiment.to_json(),
            replicate_of=proposal.replicate_of,
            started=self._now(),
        )
        if record.extra.pop("paused_at", None):
            record.reason = ""
        self._take_lane(record, "")
        record.workers, record.threads = self._settings.workers, self._settings.threads
        record.gpus = self._settings.workers * self._settings.gpus_per_worker
        self.records[record.trial] = record
        self._write(record)
        self._on_change(record)

    def result(self, trial: int, result: dict[str, Any]) -> Decision:
        """Of an epoch, as a lane reports it (see study.lane.Lane.step), and what becomes of the trial. STOP and PAUSE
        are followed by `left`."""
        record = self.records[trial]
        self._note(record, result)
        if result.get("done"):
            return Decision.STOP
        decision = self._search.judge(record)
        if decision is Decision.PAUSE:
            self._leave_lane(record)
            record.extra["paused_at"] = record.epochs[-1]["epoch"]
            record.reason = _paused_at(record.paused_at)
        if decision is not Decision.STOP:
            self._write(record)
            self._on_change(record)
        self.end_settled()
        return decision

    def _note(self, record: Record, result: dict[str, Any]) -> None:
        if started := result.get("started"):
            record.device = started.device
            record.params_trainable, record.params_frozen = started.params_trainable, started.params_frozen
            record.latency_ms = started.latency_ms
            record.extra["sampling"] = started.sampling
            record.extra["precision"] = started.precision
            record.extra["nodes"], record.extra["lane"] = list(started.nodes), result.get("lane")
            self._name_lane(record, result.get("lane", ""))
            if started.microbatches > 1:
                record.extra["microbatches"] = started.microbatches
            # What the checkpoint has behind it is what counts: epochs recorded after it are run again.
            record.epochs, record.files = list(started.rows), dict(started.files)
        if row := result.get("row"):
            record.epochs.append(row)
            record.files = dict(result["files"])
        if memory := result.get("gpu_memory_gib"):
            record.extra["gpu_memory_gib"] = round(memory, 3)
        if (idle := result.get("idle_seconds")) is not None:
            record.extra["idle_seconds"] = round(idle, 3)
        best = self._settings.objective.kept_row(record.epochs, record.experiment.get("keep", "best"))
        record.best_epoch = best["epoch"] if best else None

    def left(self, trial: int, failure: Failure | None = None) -> None:
        """The trial's lane is done with it, for good or until it goes on."""
        record = self.records[trial]
        if record.state.ended:  # it was paused, and at once known not to go on
            return
        if failure:
            late = LATE_SECONDS if failure.lane_lives else 0.0  # who is dead sends nothing more
            self._end(record, failure.state, failure.reason, failure.traceback, late)
        elif record.epochs and record.epochs[-1]["epoch"] >= record.experiment["epochs"]:
            self._end(record, State.COMPLETE)
        elif not record.paused_at:
            self._end(record, State.PRUNED, self._search.why_stopped(record))
        self.end_settled()

    def fail(self, trial: int, reason: str, traceback: str) -> None:
        """Its lanes' own processes died too often."""
        self._end(self.records[trial], State.FAILED, reason, traceback)
        self.end_settled()

    def leave(self, trial: int) -> None:
        """It stays as it is, for another session to go on with."""
        self._search.leave(self.records[trial])

    def end_settled(self) -> None:
        """Trials that were paused, and are now known not to go on."""
        for record in self._search.settled():
            record.extra.pop("paused_at", None)
            self._end(record, State.PRUNED, self._search.why_stopped(record))

    def _end(
        self, record: Record, state: State, reason: str = "", traceback: str = "", late_seconds: float | None = None
    ) -> None:
        record.state, record.reason, record.traceback = state, reason, traceback
        record.finished = self._now()
        self._leave_lane(record)
        for one in [record, *self._fallen(record)]:
            if one.trial not in self._kept:
                one.files.pop("best", None)
            self._end_in_store(one, LATE_SECONDS if late_seconds is None else late_seconds)
        self._on_change(record)
        self._search.end(record)

    def _take_lane(self, record: Record, name: str) -> None:
        self._on_lanes.add(record.trial)
        stint = {"lane": name, "started": self._now(), "finished": ""}
        record.extra["stints"] = [*record.extra.get("stints", []), stint]

    def _name_lane(self, record: Record, name: str) -> None:
        *before, last = record.extra["stints"]
        if last["lane"] in ("", name):
            record.extra["stints"] = [*before, last | {"lane": name}]
        else:  # the one before died, and Tune started another
            self._leave_lane(record)
            self._take_lane(record, name)

    def _leave_lane(self, record: Record) -> None:
        """Of one that a killed process left on its lane, nobody knows until when it was there."""
        if record.trial in self._on_lanes:
            self._on_lanes.discard(record.trial)
            *before, last = record.extra["stints"]
            record.extra["stints"] = [*before, last | {"finished": self._now()}]

    def _fallen(self, ended: Record) -> list[Record]:
        """Who could have been scored at the end, and now cannot."""
        before = self._kept - {ended.trial}
        among = [*(self.records[trial] for trial in before), ended]
        self._kept = {one.trial for one in self._contenders(among)}
        return [self.records[trial] for trial in before - self._kept]

    def _end_in_store(self, record: Record, late_seconds: float) -> None:
        """Once the lane has sent the files that it names: a record that has ended names only what is there."""
        final = _copy(record)

        def end() -> None:
            self._check_session()  # who was taken over, and only wakes up now, must not remove the other one's files
            end_in_store(self._store, final, late_seconds)

        self._writer.then(record_name(record.trial), end)

    def _write(self, record: Record) -> None:
        """As it is now; encoded where it is written, so that of several changes while the store is busy only the last
        takes time."""
        now, name = _copy(record), record_name(record.trial)
        self._writer.write(name, {name: lambda: encode_record(now)})


def _copy(record: Record) -> Record:
    """Rows are added, files and remarks replaced, but none of them changed: copies of what holds them are enough."""
    return dataclasses.replace(record, epochs=list(record.epochs), files=dict(record.files), extra=dict(record.extra))
