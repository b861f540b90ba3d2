"""What a study's store keeps of itself and of each trial, and how it is read back.

    study.json                           the study: spec, dataset, machine, versions
    trials/00003/record.json             the trial: its experiment, state, every epoch, scores
    trials/00003/val_counts-00007-5f3a1c.parquet      TP, FP, FN, TN of each validation image and class, best epoch
    trials/00003/val_confusion-00007-5f3a1c.parquet   their pixels by true and predicted class
    trials/00003/best-00007-5f3a1c.safetensors        the weights of that epoch, of those who may be finalists
    trials/00003/test_counts-5f3a1c.parquet, test_confusion-5f3a1c.parquet   on the sealed test split, finalists only
    trials/00003/checkpoint-00009-5f3a1c.safetensors  where a running trial goes on
    best.safetensors, gallery/gallery.json, gallery/*.png   of the winner
    duel/duel.json, duel/*.png           of the two that lead: images on which they differ most

A trial's files are written once and never changed: their names end with the epoch and a token of the attempt that
wrote them, and the record says which of them are its own. What no record names is nobody's, and is removed.

No Ray, Optuna or torch here: `analysis` reads through this file alone. One writer a file.
"""

import dataclasses
import enum
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from study.names import is_file_name
from study.redact import redact, secrets
from study.store import Store

FORMAT = 1
REPLICATE = "replicate"
"""Source of a trial that repeats another with another seed."""
RECIPE = "recipe"
"""Source of the recommended configuration's trial, see study/specs/recipe.yaml."""
ENSEMBLES = "ensembles"
"""Folder of what study.ensemble found: of each, NAME.json and its counts in NAME.parquet."""

FIRST_NAMES = {
    "best": "best.safetensors",
    "val_counts": "val_counts.parquet",
    "val_confusion": "val_confusion.parquet",
    "test_counts": "test_counts.parquet",
    "test_confusion": "test_confusion.parquet",
}
"""The files of a record that does not name them: the first version had one name for each."""


class FormatError(Exception):
    """A record that another version wrote. The message says where it is, and what to do."""


class State(enum.StrEnum):
    """How far an attempt at an experiment got."""

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
        """Whether a trial that ended so did what it was asked to."""
        return self in (State.COMPLETE, State.PRUNED)


@dataclass
class Record:
    """One trial. `epochs` holds one flat dict an epoch, in order: `epoch` (from 1), `train_loss`,
    `train_iou`, `val_loss`, `val_<metric>`..., `seconds`, `images_per_second`, `encoder_lr`, `decoder_lr`."""

    trial: int
    id: str
    state: State
    source: str
    """`search`, the name of a baseline (`recipe` is one), or `replicate`."""
    experiment: dict[str, Any]
    """seg.experiment.Experiment as JSON: enough to run the trial again."""
    replicate_of: int | None = None
    """The finalist whose experiment this is with another seed: no trial of the search, which never hears of it."""
    reason: str = ""
    traceback: str = ""
    started: str = ""
    """UTC, ISO 8601; `finished` likewise, empty while running."""
    finished: str = ""
    epochs: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int | None = None
    """Epoch with the best objective; the trial's scores and weights are those of this epoch."""
    workers: int = 1
    gpus: float = 0.0
    threads: int = 1
    """CPU threads of each worker."""
    device: str = ""
    params_trainable: int | None = None
    params_frozen: int | None = None
    latency_ms: float | None = None
    """Of one image through the model, see seg.latency."""
    test: dict[str, float] | None = None
    """Scores on the sealed test split; finalists only. `native_*` at the masks' own size."""
    files: dict[str, str] = field(default_factory=dict)
    """Kind (`best`, `val_counts`, `val_confusion`, `test_counts`, `test_confusion`) -> name in the trial's folder."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Among others `stints`: of each time on a lane its `lane`, when it `started` there and when it `finished`: empty
    where a killed process could not note it."""
    format: int = FORMAT

    @property
    def folder(self) -> str:
        return trial_folder(self.trial)

    def path(self, kind: str) -> str:
        """The file's name in the store; FileNotFoundError where the trial has none of this kind."""
        if kind not in self.files:
            raise FileNotFoundError(f"trial {self.trial} is {self.state} and has no {kind}")
        return f"{self.folder}/{self.files[kind]}"

    @property
    def best(self) -> dict[str, Any]:
        """The row of the best epoch; empty where no epoch has finished."""
        return next((row for row in self.epochs if row["epoch"] == self.best_epoch), {})

    @property
    def paused_at(self) -> int:
        """The epoch at which it waits to go on; 0 where it does not."""
        return int(self.extra.get("paused_at", 0))

    @property
    def standing(self) -> str:
        """Its state for people: `paused` where it is RUNNING and waits."""
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
    """UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def trial_folder(trial: int) -> str:
    return f"trials/{trial:05d}"


def record_name(trial: int) -> str:
    return f"{trial_folder(trial)}/record.json"


def encode_record(record: Record) -> bytes:
    """Strict JSON, a line a field and a line an epoch: what is no finite number is null. What errors said is kept
    without secrets."""
    known = secrets()
    values = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    values |= {name: _redacted(values[name], known) for name in ("reason", "traceback", "extra")}
    lines = [f' "{name}": {_json(value)}' for name, value in values.items() if name != "epochs"]
    epochs = ",\n".join(f"  {_json(row)}" for row in record.epochs)
    lines.append(f' "epochs": [\n{epochs}\n ]')
    return ("{\n" + ",\n".join(lines) + "\n}").encode()


def _json(value: Any) -> str:
    # Without `indent`, which Python has only in its slow encoder: a record is written after every epoch.
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
    """study.json. FileNotFoundError where there is none, FormatError where it is something else."""
    try:
        study = store.read_json("study.json")
    except ValueError as error:
        raise FormatError(f"{store.uri}/study.json: is no JSON ({error}); restore the file") from error
    if not isinstance(study, dict) or study.get("format", FORMAT) != FORMAT:
        raise FormatError(f"{store.uri}/study.json: is not of format {FORMAT}, the one this version reads; restore it")
    return study


def read_record(store: Store, trial: int) -> Record:
    """FileNotFoundError where the study has no such trial, FormatError where another version wrote it."""
    name = record_name(trial)
    return _decode(store, name, store.read(name))


def read_records(store: Store) -> list[Record]:
    """Every trial's record, by number. FormatError where another version wrote one."""
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
        record = Record(**{key: value for key, value in raw.items() if key in known} | {"state": State(raw["state"])})
        if "files" not in raw:
            record.files = dict(FIRST_NAMES)
        strange = [file for file in record.files.values() if not is_file_name(file)]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(f"{store.uri}/{name}: is no record ({error}); restore the file, or remove it") from error
    if strange:
        raise FormatError(f"{store.uri}/{name}: names a file outside its folder ({strange[0]!r}); it was tampered with")
    if type(record.trial) is not int or record_name(record.trial) != name:
        raise FormatError(f"{store.uri}/{name}: says it is of trial {record.trial!r}; it was tampered with")
    return record


def untrained(study: Mapping[str, Any], metric: str) -> tuple[str, float] | None:
    """The best of what no training gives, by study.json: its name and its score `metric` on the validation images. None
    for a metric that is not computed from counts, as val_loss, and for a study of an older version."""
    name = metric.removeprefix("val_")
    scored = {which: scores[name] for which, scores in study["dataset"].get("trivial", {}).items() if name in scores}
    best = max(scored, key=scored.__getitem__, default=None)
    return None if best is None else (best, float(scored[best]))
