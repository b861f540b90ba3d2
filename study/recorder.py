"""Keeps the records while Tune runs: the one writer of every trial's record."""

import copy
import time
import uuid
from collections.abc import Callable
from typing import Any

from ray.tune import Callback

from study import leaders
from study.blobs import BackgroundWriter
from study.lane import GivenBack, NotStarted
from study.messages import Failure, LaneSettings
from study.records import Record, State, encode_record, now, record_name
from study.search import OptunaStudy, Proposal, StudySearcher
from study.store import Store
from study.tidy import LATE_SECONDS, end_in_store, remove_unnamed

MOMENT_SECONDS = 3.0
SESSION_SECONDS = 15.0
"""Between two looks whether another process has taken the study over."""


MOST_NOT_STARTED = 6
"""Lanes in a row that do not start, with none in between that begins a trial, before the study is ended."""


class LanesError(Exception):
    """Lanes do not start, wherever they are: the study ends, to be resumed."""


def stopped_at(record: Record) -> str:
    """Why a trial is PRUNED."""
    epoch = record.epochs[-1]["epoch"] if record.epochs else 0
    return f"stopped at epoch {epoch}: not among the best at this rung"


class Recorder(Callback):
    """Every event of a trial -> its record in the store, then Optuna and the progress display."""

    def __init__(
        self,
        store: Store,
        settings: LaneSettings,
        earlier: list[Record],
        searcher: StudySearcher,
        optuna_study: OptunaStudy,
        finalists: int,
        on_change: Callable[[Record], None],
        check_session: Callable[[], None] = lambda: None,
        last_round: bool = True,
        say: Callable[[str], None] = lambda line: None,
    ):
        self.records = {record.trial: record for record in earlier}
        self._store, self._settings, self._finalists = store, settings, finalists
        self._searcher, self._optuna = searcher, optuna_study
        self._on_change, self._check_session = on_change, check_session
        self._checked = time.monotonic()
        self._last_round = last_round
        self._say, self._said = say, set[int]()
        self._not_started: list[str] = []
        """Why, of the last lanes in a row."""
        self._writer = BackgroundWriter(store)
        self._kept = self._finalists_now()
        searcher.on_proposal = self._proposed

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune saves its callbacks for Tuner.restore; here the records are what is resumed from."""
        return {}

    def on_step_end(self, iteration: int, trials: list[Any], **_: Any) -> None:
        """Many times a second: a store that is given up ends the study, even while every lane waits for it too."""
        self._writer.check()
        if len(self._not_started) >= MOST_NOT_STARTED:
            raise LanesError(f"lanes do not start: {self._not_started[-1]}")
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

    def _proposed(self, tune_id: str, proposal: Proposal) -> None:
        record = proposal.record or Record(
            trial=proposal.trial,
            id=uuid.uuid5(uuid.NAMESPACE_URL, f"{self._store.uri}#{proposal.trial}").hex[:8],
            state=State.RUNNING,
            source=proposal.source,
            experiment=proposal.experiment.to_json(),
            replicate_of=proposal.replicate_of,
            started=now(),
        )
        record.workers, record.threads = self._settings.workers, self._settings.threads
        record.gpus = self._settings.workers * self._settings.gpus_per_worker
        self.records[record.trial] = record
        self._write(record)
        self._on_change(record)

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        record = self._record_of(trial)
        if started := result.get("started"):
            self._not_started = []
            record.device = started.device
            record.params_trainable, record.params_frozen = started.params_trainable, started.params_frozen
            record.extra["sampling"] = started.sampling
            record.extra["nodes"], record.extra["lane"] = list(started.nodes), result.get("lane")
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
        best = self._settings.objective.best_row(record.epochs)
        record.best_epoch = best["epoch"] if best else None
        if not result.get("done"):
            self._write(record)
            self._on_change(record)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        record = self._record_of(trial)
        failure: Failure | None = (trial.last_result or {}).get("failure")
        if failure:
            late = LATE_SECONDS if failure.lane_lives else 0.0  # who is dead sends nothing more
            self._end(record, failure.state, failure.reason, failure.traceback, late)
        elif record.epochs and record.epochs[-1]["epoch"] >= record.experiment["epochs"]:
            self._end(record, State.COMPLETE)
        else:
            self._end(record, State.PRUNED, stopped_at(record))

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """A trial that its lane gave back has not failed: Tune counts it among the deaths that it bounds."""
        number = self._record_of(trial).trial
        error = getattr(trial.get_pickled_error(), "cause", None)
        if isinstance(error, NotStarted):
            self._not_started.append(str(error))
            self._say(f"trial {number} waits: its lane did not start: {error}")
        if isinstance(error, GivenBack):
            trial.run_metadata.num_failures -= 1
            if number not in self._said:
                self._said.add(number)
                self._say(f"trial {number} waits: {error}; `ray status` says what holds the cluster")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """The lane's own process died, where Tune does not start the trial again: before its first step, for one. That
        is no fault of the trial's: it stays as it is, for the next round."""
        if not self._last_round:
            return
        error = trial.get_pickled_error()
        text = str(error or "").strip() or (type(error).__name__ if error else "the lane ended without a word")
        self._end(self._record_of(trial), State.FAILED, text.splitlines()[-1], text)

    def _end(
        self, record: Record, state: State, reason: str = "", traceback: str = "", late_seconds: float | None = None
    ) -> None:
        record.state, record.reason, record.traceback = state, reason, traceback
        record.finished = now()
        kept = self._finalists_now()
        fallen = [self.records[trial] for trial in self._kept - kept]
        self._kept = kept
        for one in [record, *fallen]:
            if one.trial not in kept:
                one.files.pop("best", None)
            self._end_in_store(one, LATE_SECONDS if late_seconds is None else late_seconds)
        self._on_change(record)
        if record.replicate_of is None:
            self._optuna.tell(record)

    def _end_in_store(self, record: Record, late_seconds: float) -> None:
        """Once the lane has sent the files that it names: a record that has ended names only what is there."""
        final = copy.deepcopy(record)

        def end() -> None:
            self._check_session()  # who was taken over, and only wakes up now, must not remove the other one's files
            end_in_store(self._store, final, late_seconds)

        self._writer.then(record_name(record.trial), end)

    def _finalists_now(self) -> set[int]:
        """Who could be scored at the end. Trials yet to end only push others out: who has fallen stays out."""
        return {r.trial for r in leaders.finalists(self.records.values(), self._settings.objective, self._finalists)}

    def _write(self, record: Record) -> None:
        content = encode_record(record)
        name = record_name(record.trial)
        self._writer.write(name, {name: lambda: content})

    def _record_of(self, trial: Any) -> Record:
        return self.records[self._searcher.proposals[trial.trial_id].trial]
