"""The only writer of all trials' records, on real lanes or simulated ones, until each has ended in the store."""

import dataclasses
import time
import uuid
from collections.abc import Callable, Iterable

from study.search.schedulers import Decision
from study.search.search import Search
from study.search.searcher import Proposal
from study.store import Store
from study.store.background import BackgroundWriter
from study.store.records import Record, State, encode_record, now, record_name, write_record
from study.trials.messages import LATE_SECONDS, POLL_SECONDS, EpochDone, Failure, LaneSettings, Report

MOMENT_SECONDS = 3.0
SESSION_SECONDS = 15.0
"""Seconds between two checks of whether another process has taken the study over."""


def _paused_at(epoch: int) -> str:
    return f"paused at epoch {epoch}: goes on once it is among the best at this rung"


class Recorder:
    """The part of a study that passes each event of a trial to its record, the search and the progress display."""

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
        """`contenders` returns those of some records that may still be scored at the end.

        A trial that it excludes stays excluded, whatever trials follow. `now` is as study.store.records.now, by the
        clock of the trials.
        """
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
        """Raise the error of a store that was given up. Called many times a second.

        This ends the study even while every lane waits for the store too. It also queues the check of the session.
        """
        self._writer.check()
        if time.monotonic() - self._checked > SESSION_SECONDS:
            self._checked = time.monotonic()
            self._writer.then("session", self._check_session)

    def close(self, when_slow: Callable[[], None] = lambda: None) -> None:
        """Wait until everything is written and the files that no record names are deleted.

        A lane may have written such a file late, or died before it could delete it. `when_slow` is called once if this
        takes longer than MOMENT_SECONDS.
        """
        records = [record for record in self.records.values() if record.state.ended]

        def tidy() -> None:
            self._check_session()
            remove_unnamed(self._store, records)

        self._writer.then("tidy", tidy)
        if not self._writer.flush(MOMENT_SECONDS):
            when_slow()
            self._writer.flush()

    def begin(self, proposal: Proposal) -> None:
        """Record that a lane takes the trial."""
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

    def result(self, trial: int, report: Report) -> Decision:
        """Record a lane's report and decide how the trial goes on.

        After STOP and PAUSE, `left` is called.
        """
        record = self.records[trial]
        self._note(record, report)
        if report.done:
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

    def _note(self, record: Record, report: Report) -> None:
        if started := report.started:
            record.device = started.device
            record.params_trainable, record.params_frozen = started.params_trainable, started.params_frozen
            record.latency_ms = started.latency_ms
            record.extra["sampling"] = started.sampling
            record.extra["precision"] = started.precision
            record.extra["nodes"], record.extra["lane"] = list(started.nodes), report.lane or None
            self._name_lane(record, report.lane)
            if started.microbatches > 1:
                record.extra["microbatches"] = started.microbatches
            # Only the checkpoint's epochs count: those recorded after it are run again.
            record.epochs, record.files = list(started.rows), dict(started.files)
        if isinstance(done := report.outcome, EpochDone):
            record.epochs.append(done.row)
            record.files = dict(done.files)
            if done.gpu_memory_gib:
                record.extra["gpu_memory_gib"] = round(done.gpu_memory_gib, 3)
            if done.idle_seconds is not None:
                record.extra["idle_seconds"] = round(done.idle_seconds, 3)
        best = self._settings.objective.kept_row(record.epochs, record.experiment.get("keep", "best"))
        record.best_epoch = best["epoch"] if best else None

    def left(self, trial: int, failure: Failure | None = None) -> None:
        """Record that the trial's lane is done with it, because it ended or is paused."""
        record = self.records[trial]
        if record.state.ended:  # it was paused and ended at once, because it could not go on
            return
        if failure:
            late = LATE_SECONDS if failure.lane_lives else 0.0  # a dead lane sends nothing more
            self._end(record, failure.state, failure.reason, failure.traceback, late)
        elif record.epochs and record.epochs[-1]["epoch"] >= record.experiment["epochs"]:
            self._end(record, State.COMPLETE)
        elif not record.paused_at:
            self._end(record, State.PRUNED, self._search.why_stopped(record))
        self.end_settled()

    def fail(self, trial: int, reason: str, traceback: str) -> None:
        """End a trial as FAILED because the own processes of its lanes died too often."""
        self._end(self.records[trial], State.FAILED, reason, traceback)
        self.end_settled()

    def leave(self, trial: int) -> None:
        """Leave the trial as it is, for another session to continue."""
        self._search.leave(self.records[trial])

    def end_settled(self) -> None:
        """End the paused trials that are now known not to go on."""
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
        else:  # the previous lane died, and Tune started another
            self._leave_lane(record)
            self._take_lane(record, name)

    def _leave_lane(self, record: Record) -> None:
        """Note when the trial left its lane.

        If a killed process left the trial on its lane, that time is unknown and stays empty.
        """
        if record.trial in self._on_lanes:
            self._on_lanes.discard(record.trial)
            *before, last = record.extra["stints"]
            record.extra["stints"] = [*before, last | {"finished": self._now()}]

    def _fallen(self, ended: Record) -> list[Record]:
        """Return the trials that could have been scored at the end until `ended` ended, and now cannot."""
        before = self._kept - {ended.trial}
        among = [*(self.records[trial] for trial in before), ended]
        self._kept = {one.trial for one in self._contenders(among)}
        return [self.records[trial] for trial in before - self._kept]

    def _end_in_store(self, record: Record, late_seconds: float) -> None:
        """Queue writing the record once the lane has sent the files that it names.

        The record of an ended trial names only files that are there.
        """
        final = _copy(record)

        def end() -> None:
            self._check_session()  # if another process took the study over, its files must not be deleted here
            end_in_store(self._store, final, late_seconds)

        self._writer.then(record_name(record.trial), end)

    def _write(self, record: Record) -> None:
        """Queue writing the record as it is now.

        It is encoded only when it is written: of several changes while the store is busy, only the last takes time.
        """
        now, name = _copy(record), record_name(record.trial)
        self._writer.write(name, {name: lambda: encode_record(now)})


def _copy(record: Record) -> Record:
    """Return a copy with its own lists and dicts. Their items are shared, because they are never changed."""
    return dataclasses.replace(record, epochs=list(record.epochs), files=dict(record.files), extra=dict(record.extra))


def end_in_store(store: Store, record: Record, late_seconds: float = LATE_SECONDS) -> None:
    """Write the record once its files are there, then delete files that it does not name.

    Waits at most `late_seconds`; files that are still missing then are left out of the record.
    """
    there = _await(store, record, late_seconds)
    record.files = {kind: file for kind, file in record.files.items() if file in there}
    write_record(store, record)
    for name in there - {"record.json", *record.files.values()}:
        store.delete(f"{record.folder}/{name}")


def begin_again(store: Store, record: Record) -> None:
    """Reset an ended trial to one that has not begun. `extra["attempts"]` keeps its earlier results."""
    kept = ("state", "reason", "traceback", "started", "finished", "epochs")
    attempt = {name: getattr(record, name) for name in kept}
    same = (record.source, record.experiment, record.replicate_of)
    blank = Record(record.trial, record.id, State.RUNNING, *same, started=now())
    blank.extra["attempts"] = [*record.extra.get("attempts", []), attempt]
    for name in (field.name for field in dataclasses.fields(Record)):
        setattr(record, name, getattr(blank, name))
    # Delete files before resetting the record: if we crash in between, the trial is still recorded as ended and cannot
    # resume from an old checkpoint.
    for name in store.names(record.folder):
        if name != "record.json":
            store.delete(f"{record.folder}/{name}")
    write_record(store, record)


def _await(store: Store, record: Record, late_seconds: float) -> set[str]:
    """Wait for the files that the record names, at most `late_seconds`, and return all names in the trial's folder."""
    end = time.monotonic() + late_seconds
    while True:
        there = set(store.names(record.folder))
        if there >= set(record.files.values()) or time.monotonic() > end:
            return there
        time.sleep(POLL_SECONDS)


def remove_unnamed(store: Store, ended: Iterable[Record]) -> None:
    """Delete files of ended trials that no record names, also those half written by a killed process.

    This takes one listing. A trial that has not ended keeps everything: its checkpoint is there, and a lane may be
    writing.
    """
    named, folders = set(), set()
    for record in ended:
        folders.add(record.folder)
        named |= {record_name(record.trial), *(f"{record.folder}/{file}" for file in record.files.values())}
    for name in store.every_name("trials"):
        if name.rpartition("/")[0] in folders and name not in named:
            store.delete(name)
