"""Keeps the records while Tune runs: the one writer of every trial's record."""

import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from ray.tune import Callback

from study.blobs import BackgroundWriter
from study.leaders import superfluous
from study.messages import Failure, LaneSettings
from study.records import Record, State, encode_record
from study.search import OptunaStudy, Proposal, Rungs, StudySearcher
from study.store import Store


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class Recorder(Callback):
    """Every event of a trial -> its record in the store, then Optuna and the progress display."""

    def __init__(
        self,
        store: Store,
        settings: LaneSettings,
        earlier: list[Record],
        searcher: StudySearcher,
        optuna_study: OptunaStudy,
        scheduler: Any,
        finalists: int,
        on_change: Callable[[Record], None],
    ):
        self.records = {record.trial: record for record in earlier}
        self._store, self._settings, self._finalists = store, settings, finalists
        self._searcher, self._optuna, self._scheduler = searcher, optuna_study, scheduler
        self._on_change = on_change
        self._writer = BackgroundWriter(store)
        self._deleted: set[str] = set()
        searcher.on_proposal = self._proposed

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune saves its callbacks for Tuner.restore; here the records are what is resumed from."""
        return {}

    def close(self) -> None:
        """All written. What was deleted is deleted again: a lane may have written it late."""
        self._writer.write({}, then_delete=self._deleted)
        self._writer.flush()

    def _proposed(self, tune_id: str, proposal: Proposal) -> None:
        record = proposal.record or Record(
            trial=proposal.trial,
            id=uuid.uuid5(uuid.NAMESPACE_URL, f"{self._store.uri}#{proposal.trial}").hex[:8],
            state=State.RUNNING,
            source=proposal.source,
            experiment=proposal.experiment.to_json(),
            started=now(),
        )
        record.workers, record.threads = self._settings.workers, self._settings.threads
        record.gpus = self._settings.workers * self._settings.gpus_per_worker
        self.records[record.trial] = record
        if record.epochs and isinstance(self._scheduler, Rungs):
            self._scheduler.remember(tune_id, record.epochs, self._settings.objective)
        self._write(record)

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        record = self._record_of(trial)
        if started := result.get("started"):
            record.device = started.device
            record.params_trainable, record.params_frozen = started.params_trainable, started.params_frozen
            record.extra["sampling"] = started.sampling
            # What the checkpoint has behind it is what counts: epochs recorded after it are run again.
            record.epochs = list(started.rows)
        if row := result.get("row"):
            record.epochs.append(row)
        best = self._settings.objective.best_row(record.epochs)
        record.best_epoch = best["epoch"] if best else None
        if not result.get("done"):
            self._write(record)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        record = self._record_of(trial)
        failure: Failure | None = (trial.last_result or {}).get("failure")
        if failure:
            self._end(record, failure.state, failure.reason, failure.traceback)
        elif record.epochs and record.epochs[-1]["epoch"] >= record.experiment["epochs"]:
            self._end(record, State.COMPLETE)
        else:
            epoch = record.epochs[-1]["epoch"] if record.epochs else 0
            self._end(record, State.PRUNED, f"stopped at epoch {epoch}: not among the best at this rung")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        error = trial.get_pickled_error()
        text = str(error or "").strip() or (type(error).__name__ if error else "the lane ended without a word")
        self._end(self._record_of(trial), State.FAILED, text.splitlines()[-1], text)

    def _end(self, record: Record, state: State, reason: str = "", traceback: str = "") -> None:
        record.state, record.reason, record.traceback = state, reason, traceback
        record.finished = now()
        unneeded = superfluous(self.records.values(), self._settings.objective, self._finalists)
        self._write(record, [name for name in unneeded if name not in self._deleted])
        self._deleted.update(unneeded)
        self._optuna.tell(record)

    def _write(self, record: Record, then_delete: Iterable[str] = ()) -> None:
        content = encode_record(record)
        self._writer.write({f"{record.folder}/record.json": lambda: content}, then_delete)
        self._on_change(record)

    def _record_of(self, trial: Any) -> Record:
        return self.records[self._searcher.proposals[trial.trial_id].trial]
