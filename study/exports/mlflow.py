"""Export to MLflow, into a database in a folder or to a tracking server.

The study becomes an experiment of the same name, and each trial a run of it.
"""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlflow.entities import Experiment, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

from seg.errors import UserError, redact
from study.exports.source import (
    Source,
    claim,
    epoch_ends,
    final_scores,
    fingerprint,
    numbers,
    parameters,
    timestamp,
    with_progress,
)
from study.store.records import Record, State

SERVER = "MLFLOW_TRACKING_URI"
OWNER = "segstudy.study"
"""The tag of an experiment that identifies its study."""
MARK, BEGUN, SENT = "segstudy.fingerprint", "segstudy.started", "segstudy.epochs"
"""The tags of a run: its record's fingerprint, the start of the attempt, and the number of epochs sent."""
STATUS = {State.RUNNING: "RUNNING", State.COMPLETE: "FINISHED", State.PRUNED: "KILLED"}
METRICS_A_CALL, PARAMS_A_CALL = 1000, 100
"""The most metrics and parameters that one request may hold.

https://mlflow.org/docs/latest/rest-api.html#request-limits
"""
TAG_CHARACTERS, PARAM_CHARACTERS = 4000, 6000


def write(source: Source, out: Path | None) -> str:
    """Write to `out`. If it is None, write to the server in MLFLOW_TRACKING_URI, or without one to ./<study>-mlflow."""
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    server = os.environ.get(SERVER)
    if server and out is None:
        _send(source, server, None)
        return f"sent to {server}, experiment {source.name}"
    folder = claim(source, "mlflow", out).path.resolve()
    address = f"sqlite:///{folder / 'mlflow.db'}"
    _send(source, address, (folder / "artifacts").as_uri())
    return f"look at it: mlflow ui --backend-store-uri {address}"


def _send(source: Source, address: str, artifacts: str | None) -> None:
    try:
        client = MlflowClient(tracking_uri=address)
        experiment = _experiment(client, source, artifacts)
        runs = {run.data.tags["trial"]: run for run in _runs(client, experiment)}
        for record in with_progress(source.records):
            _export(client, experiment, record, runs.get(str(record.trial)))
    except (MlflowException, SQLAlchemyError, OSError) as error:
        said = " ".join(str(error).split())[:300]
        raise UserError(f"{address}: MLflow cannot be used ({said}); check the address, or give --out") from error


def _experiment(client: MlflowClient, source: Source, artifacts: str | None) -> str:
    """Return the id of the study's experiment, created if missing. Raises UserError if the name is taken."""
    found: Experiment | None = client.get_experiment_by_name(source.name)
    if found is None:
        made: str = client.create_experiment(source.name, artifacts, tags={OWNER: source.identity})
        return made
    if found.lifecycle_stage != "active":
        raise UserError(f"{source.name}: MLflow has deleted this experiment; restore it there, or `mlflow gc`")
    if found.tags.get(OWNER) != source.identity:
        raise UserError(f"{source.name}: MLflow has another experiment of this name; rename it there, or give --out")
    return str(found.experiment_id)


def _runs(client: MlflowClient, experiment: str) -> Iterator[Run]:
    token = None
    while True:
        page = client.search_runs([experiment], page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _export(client: MlflowClient, experiment: str, record: Record, run: Run | None) -> None:
    """Add what the run lacks. A run that already matches the record is left alone."""
    mark = fingerprint(record)
    if run and run.data.tags.get(MARK) == mark:
        return
    if run and run.data.tags.get(BEGUN) != record.started:
        client.delete_run(run.info.run_id)  # it belongs to an earlier attempt
        run = None
    run = run or _begin(client, experiment, record)
    sent = int(run.data.tags.get(SENT, 0))
    id = run.info.run_id
    metrics = list(_metrics(record, sent))
    for start in range(0, len(metrics), METRICS_A_CALL):
        client.log_batch(id, metrics=metrics[start : start + METRICS_A_CALL])
    tags = {"state": record.state, "reason": redact(record.reason), SENT: len(record.epochs), MARK: mark}
    client.log_batch(id, tags=[RunTag(name, str(value)[:TAG_CHARACTERS]) for name, value in tags.items()])
    if record.state.ended:
        client.set_terminated(id, STATUS.get(record.state, "FAILED"), _milliseconds(timestamp(record.finished)))


def _begin(client: MlflowClient, experiment: str, record: Record) -> Run:
    tags = {"trial": str(record.trial), "id": record.id, "source": record.source, BEGUN: record.started}
    begun = _milliseconds(timestamp(record.started))
    run: Run = client.create_run(experiment, begun, tags, f"trial {record.trial}")
    params = [Param(name, str(value)[:PARAM_CHARACTERS]) for name, value in parameters(record).items()]
    client.log_batch(run.info.run_id, params=params[:PARAMS_A_CALL])
    return run


def _metrics(record: Record, sent: int) -> Iterator[Metric]:
    """Yield the metrics of the epochs after the first `sent`, then the final scores at the best epoch."""
    last = timestamp(record.started)
    for row, end in epoch_ends(record):
        if row["epoch"] > sent:
            yield from _at(row["epoch"], end, dict(numbers(row)))
        last = end
    yield from _at(record.best_epoch or 0, last, final_scores(record))


def _at(step: int, seconds: float, values: dict[str, Any]) -> Iterator[Metric]:
    for name, value in values.items():
        yield Metric(name, value, _milliseconds(seconds), step)


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
