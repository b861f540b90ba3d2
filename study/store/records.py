"""What a study's store keeps about the study and each trial, and how it is read back.

    study.json                           the study: spec, dataset, machine, versions
    trials/00003/record.json             the trial: its experiment, state, every epoch, scores
    trials/00003/val_counts-00007-5f3a1c.parquet      TP, FP, FN, TN of each validation image and class, best epoch
    trials/00003/val_confusion-00007-5f3a1c.parquet   their pixels by true and predicted class
    trials/00003/best-00007-5f3a1c.safetensors        the weights of that epoch, if the trial may become a finalist
    trials/00003/test_counts-5f3a1c.parquet, test_confusion-5f3a1c.parquet   on the sealed test split, finalists only
    trials/00003/checkpoint-00009-5f3a1c.safetensors  from which a running trial goes on
    best.safetensors, gallery/gallery.json, gallery/*.png   of the winner
    duel/duel.json, duel/*.png           of the two leading trials: images on which they differ most
    spent.json                           the machine time used so far, from which a resumed study counts on

A trial's files are written once and never changed. Their names end with the epoch, if there is one, and a token of the
attempt that wrote them. The record names the files that belong to it. A file that no record names is removed.

This module does not import Ray, Optuna or torch, because `analysis` reads the records through it. Each file has only
one writer.
"""

import dataclasses
import enum
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from seg.errors import UserError, redact, secrets
from study.store.names import is_file_name
from study.store.old_formats import brought_up
from study.store.retries import NotStored
from study.store.store import Store

FORMAT = 1
REPLICATE = "replicate"
"""The source of a trial that repeats another one with a different seed."""
RECIPE = "recipe"
"""The source of the recommended configuration's trial, see study/specs/recipe.yaml."""
ENSEMBLES = "ensembles"
"""The folder of study.ensemble's results: for each ensemble, NAME.json and its counts in NAME.parquet."""


SPENT = "spent.json"
OTHER_KINDS = "default"
"""The key of the price for nodes whose kind has no price of its own, or is not known."""


class FormatError(UserError):
    """A file that this version cannot read. The message says where it is, and what to do."""


class State(enum.StrEnum):
    """The state of a trial: how far the attempt at its experiment got."""

    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    FAILED = "FAILED"
    INFEASIBLE = "INFEASIBLE"

    @property
    def ended(self) -> bool:
        return self is not State.RUNNING

    @property
    def scored(self) -> bool:
        """Whether the trial ended as it should: complete or stopped early, so that its score counts."""
        return self in (State.COMPLETE, State.PRUNED)


@dataclass
class Record:
    """The record of one trial.

    `epochs` holds one flat dict per epoch, in order: `epoch` (from 1), `train_loss`, `train_iou`, `val_loss`,
    `val_<metric>`..., `seconds`, `images_per_second`, `encoder_lr`, `decoder_lr`.
    """

    trial: int
    id: str
    state: State
    source: str
    """Where the trial comes from: `search`, the name of a baseline (`recipe` is one), or `replicate`."""
    experiment: dict[str, Any]
    """The seg.experiment.Experiment as JSON, which is enough to run the trial again."""
    replicate_of: int | None = None
    """The finalist that this trial repeats with another seed. Such a trial is not shown to the search."""
    reason: str = ""
    traceback: str = ""
    started: str = ""
    """The start in UTC, ISO 8601. `finished` has the same form, and is empty while the trial runs."""
    finished: str = ""
    epochs: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int | None = None
    """The epoch whose scores and weights the trial keeps: by default the one with the best objective.

    See study.ranking.objective.Objective.kept_row.
    """
    workers: int = 1
    gpus: float = 0.0
    threads: int = 1
    """CPU threads of each worker."""
    device: str = ""
    params_trainable: int | None = None
    params_frozen: int | None = None
    latency_ms: float | None = None
    """The time that one image takes through the model, in milliseconds, see seg.evaluate."""
    test: dict[str, float] | None = None
    """Scores on the sealed test split, for finalists only. `native_*` are at the masks' own size."""
    files: dict[str, str] = field(default_factory=dict)
    """The names of the files in the trial's folder, by kind.

    The kinds are `best`, `val_counts`, `val_confusion`, `test_counts` and `test_confusion`.
    """
    extra: dict[str, Any] = field(default_factory=dict)
    """Further values, among them `stints`: the `lane`, `started` and `finished` of each time on a lane.

    `finished` is empty if a killed process could not record it.
    """
    format: int = FORMAT

    @property
    def folder(self) -> str:
        return trial_folder(self.trial)

    def path(self, kind: str) -> str:
        """Return the file's name in the store. Raises NotStored if the trial has none of this kind."""
        if kind not in self.files:
            raise NotStored(f"trial {self.trial} is {self.state} and has no {kind}")
        return f"{self.folder}/{self.files[kind]}"

    @property
    def best(self) -> dict[str, Any]:
        """The row of the best epoch; empty if there is none yet."""
        return next((row for row in self.epochs if row["epoch"] == self.best_epoch), {})

    @property
    def paused_at(self) -> int:
        """The epoch at which the trial is paused; 0 if it is not paused."""
        return int(self.extra.get("paused_at", 0))

    @property
    def standing(self) -> str:
        """The trial's state for people: `paused` if it is RUNNING but waits to go on."""
        return "paused" if self.paused_at else str(self.state)

    @property
    def train_seconds(self) -> float:
        return sum(row["seconds"] for row in self.epochs)

    @property
    def gpu_seconds(self) -> float:
        return self.train_seconds * self.gpus

    @property
    def params_total(self) -> int | None:
        known = self.params_trainable, self.params_frozen
        return None if None in known else sum(filter(None, known))


def now() -> str:
    """Return the current time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def trial_folder(trial: int) -> str:
    return f"trials/{trial:05d}"


def record_name(trial: int) -> str:
    return f"{trial_folder(trial)}/record.json"


def encode_record(record: Record) -> bytes:
    """Return the record as strict JSON, one line per field and one per epoch.

    Numbers that are not finite become null. Secrets are removed from the text of errors.
    """
    known = secrets()
    values = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    values |= {name: _redacted(values[name], known) for name in ("reason", "traceback", "extra")}
    lines = [f' "{name}": {_json(value)}' for name, value in values.items() if name != "epochs"]
    epochs = ",\n".join(f"  {_json(row)}" for row in record.epochs)
    lines.append(f' "epochs": [\n{epochs}\n ]')
    return ("{\n" + ",\n".join(lines) + "\n}").encode()


def _json(value: Any) -> str:
    # No `indent`: only Python's slow encoder supports it, and a record is written after every epoch.
    return json.dumps(_finite(value), allow_nan=False)


def _redacted(value: Any, known: list[str]) -> Any:
    if isinstance(value, dict):
        return {key: _redacted(item, known) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(item, known) for item in value]
    return redact(value, known) if isinstance(value, str) else value


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_record(store: Store, record: Record) -> None:
    store.write(record_name(record.trial), encode_record(record))


def read_study(store: Store) -> dict[str, Any]:
    """Return study.json.

    Raises FileNotFoundError if the file is missing, and FormatError if it is not JSON or not of this version's format.
    """
    try:
        study = store.read_json("study.json")
    except ValueError as error:
        raise FormatError(f"{store.uri}/study.json: is no JSON ({error}); restore the file") from error
    if not isinstance(study, dict) or study.get("format") != FORMAT:
        raise FormatError(f"{store.uri}/study.json: is not of format {FORMAT}, the one this version reads; restore it")
    return study


def read_record(store: Store, trial: int) -> Record:
    """Return a trial's record.

    Raises FileNotFoundError if the study has no such trial, and FormatError if this version cannot read its record.
    """
    name = record_name(trial)
    return _decode(store, name, store.read(name))


def read_records(store: Store) -> list[Record]:
    """Return every trial's record, by number. Raises FormatError if this version cannot read one of them."""
    trials = sorted(int(name) for name in store.names("trials") if name.isdecimal())
    found = store.read_each(map(record_name, trials))
    return [_decode(store, name, content) for name, content in found.items()]


def _decode(store: Store, name: str, content: bytes) -> Record:
    try:
        raw = json.loads(content)
    except ValueError as error:
        raise FormatError(f"{store.uri}/{name}: is no JSON ({error}); restore the file, or remove it") from error
    if not isinstance(raw, dict):
        raise FormatError(f"{store.uri}/{name}: is no record; restore the file, or remove it")
    if raw.get("format") != FORMAT:
        raise FormatError(
            f"{store.uri}/{name}: has format {raw.get('format')}, this version reads {FORMAT}; "
            "read the study with the version that wrote it"
        )
    known = {f.name for f in dataclasses.fields(Record)}
    try:
        today = brought_up(raw)
        record = Record(**{key: value for key, value in today.items() if key in known} | {"state": State(raw["state"])})
        strange = [file for file in record.files.values() if not is_file_name(file)]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(f"{store.uri}/{name}: is no record ({error}); restore the file, or remove it") from error
    if strange:
        raise FormatError(f"{store.uri}/{name}: names a file outside its folder ({strange[0]!r}); it was tampered with")
    if type(record.trial) is not int or record_name(record.trial) != name:
        raise FormatError(f"{store.uri}/{name}: says it is of trial {record.trial!r}; it was tampered with")
    return record


def untrained(study: Mapping[str, Any], metric: str) -> tuple[str, float] | None:
    """Return the name of the best untrained prediction in study.json and its score `metric` on the validation images.

    None for a metric that is not computed from counts, such as val_loss, and for a study of an older version.
    """
    name = metric.removeprefix("val_")
    scored = {which: scores[name] for which, scores in study["dataset"].get("trivial", {}).items() if name in scores}
    best = max(scored, key=scored.__getitem__, default=None)
    return None if best is None else (best, float(scored[best]))


def open_study(uri: str) -> Store:
    """Open a study, by `<storage>/<name>`.

    Raises NotStored if there is none at `uri`, and StoreError if the store cannot be used.
    """
    store = Store(uri if "://" in uri else str(Path(os.path.expanduser(uri)).resolve()))
    with store.reached():
        found = store.exists("study.json")
    if not found:
        raise NotStored(f"{uri}: no study here (study.json is missing); give <storage>/<name>, a folder or s3://...")
    return store


@dataclass(frozen=True)
class Used:
    hours: float = 0.0
    node_hours: Mapping[str, float] = field(default_factory=dict)
    """Hours by kind of node. For two nodes side by side, the hours of both are added."""

    def usd(self, prices: Mapping[str, float]) -> float:
        """Return the cost. `prices` holds the price of one hour of each kind of node."""
        return sum(hours * price(prices, kind) for kind, hours in self.node_hours.items())


def price(prices: Mapping[str, float], kind: str) -> float:
    return prices.get(kind, prices[OTHER_KINDS])


def read_used(store: Store) -> Used:
    """Return what was used so far: zero if no session has written spent.json yet, or the study is older than it."""
    try:
        raw: dict[str, Any] = store.read_json(SPENT)
    except FileNotFoundError:
        return Used()
    return Used(raw["hours"], raw["node_hours"])
