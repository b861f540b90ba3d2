"""A study to be exported, its trials' values in the form that other tools need, and its tables as CSV and Parquet.

A separate process writes the tables, because study may not import analysis.
"""

import hashlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from seg.cli import track
from seg.errors import UserError
from study.store.records import Record, encode_record

Value = bool | int | float | str
ELSEWHERE = frozenset({"loss_parameters", "epochs"})
"""Fields of an experiment that are not hyperparameters of their own."""

MARKER = "export.json"
"""The file that names the folder's study and format, and holds the fingerprint of each exported trial."""


@dataclass(frozen=True)
class Source:
    uri: str
    info: dict[str, Any]
    """The content of study.json."""
    records: list[Record]

    @property
    def name(self) -> str:
        return str(self.info["name"])

    @property
    def identity(self) -> str:
        """The name and the creation time, because two studies may have the same name."""
        return f"{self.name} {self.info['created']}"


def with_progress(records: list[Record]) -> Iterable[Record]:
    return track(records, "trials")


def fingerprint(record: Record) -> str:
    """Return a hash that changes if anything in the record changes."""
    return hashlib.sha256(encode_record(record)).hexdigest()[:16]


def parameters(record: Record) -> dict[str, Value]:
    """Return the trial's settings under the table's column names, without those that are not set."""
    experiment = record.experiment
    values = {name: value for name, value in experiment.items() if name not in ELSEWHERE}
    values |= {f"loss_{name}": value for name, value in experiment.get("loss_parameters", {}).items()}
    values |= {"epochs_planned": experiment.get("epochs"), "source": record.source, "replicate_of": record.replicate_of}
    return {name: value for name, value in values.items() if isinstance(value, bool | int | float | str)}


def final_scores(record: Record) -> dict[str, float]:
    """Return the best epoch's scores as `best/val_iou` and so on, and a finalist's test scores as `test/iou`."""
    best = {f"best/{name}": value for name, value in record.best.items() if name.startswith("val_")}
    return dict(numbers(best | {f"test/{name}": value for name, value in (record.test or {}).items()}))


def numbers(row: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the finite numbers of a row, except `epoch`, at which the others are plotted."""
    for name, value in row.items():
        if name != "epoch" and isinstance(value, int | float) and math.isfinite(value):
            yield name, float(value)


def epoch_ends(record: Record) -> Iterator[tuple[dict[str, Any], float]]:
    """Yield each epoch's row and its end, in seconds since 1970.

    The ends assume that no time passed between epochs, so that every export gives the same ones.
    """
    end = timestamp(record.started)
    for row in record.epochs:
        end += row.get("seconds") or 0.0
        yield row, end


def timestamp(moment: str) -> float:
    """Return the seconds since 1970 of a time in ISO 8601, or 0 if it is empty."""
    if not moment:
        return 0.0
    read = datetime.fromisoformat(moment)
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()


@dataclass
class Output:
    path: Path
    owner: dict[str, Any]
    trials: dict[str, str] = field(default_factory=dict)
    """The fingerprint of each trial's record when it was written, by trial number."""

    def has(self, trial: int, fingerprint: str) -> bool:
        return self.trials.get(str(trial)) == fingerprint

    def add(self, trial: int, fingerprint: str) -> None:
        self.trials[str(trial)] = fingerprint

    def save(self) -> None:
        partial = self.path / f".{MARKER}.partial"
        partial.write_text(json.dumps(self.owner | {"trials": self.trials}, indent=1))
        os.replace(partial, self.path / MARKER)


def claim(source: Source, to: str, given: Path | None) -> Output:
    """Return the output in the folder `given`, by default ./<study>-<to>.

    Raises UserError if the folder holds something that another export or a person made, or cannot be written.
    """
    path = given or Path(f"{source.name}-{to}")
    output = Output(path, {"made_by": "study.export", "study": source.identity, "to": to})
    try:
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            output.trials = _earlier(output)
        output.save()
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); name another folder with --out") from error
    return output


def _earlier(output: Output) -> dict[str, str]:
    """Return the fingerprints that an earlier export of the study left here."""
    marker = output.path / MARKER
    try:
        found = json.loads(marker.read_text())
        trials = {str(trial): str(mark) for trial, mark in found.pop("trials").items()}
    except (FileNotFoundError, ValueError, KeyError, AttributeError) as error:
        raise UserError(f"{output.path}: holds files that are not this command's; name another with --out") from error
    if found != output.owner:
        other = f"{found.get('study')} to {found.get('to')}"
        raise UserError(f"{output.path}: holds another export ({other}); name another folder with --out")
    return trials


BESIDE = Path(__file__).parents[2]
"""The folder that holds analysis beside study, whether they are installed or not."""
TABLES: dict[str, tuple[str, ...]] = {"trials": (), "epochs": ("--epochs",)}
"""The options of `analysis.table` for each file."""


def write_csv(source: Source, out: Path | None) -> str:
    return _write(source, claim(source, "csv", out).path, "csv")


def write_parquet(source: Source, out: Path | None) -> str:
    return _write(source, claim(source, "parquet", out).path, "parquet")


def _write(source: Source, folder: Path, suffix: str) -> str:
    for name, options in TABLES.items():
        partial = folder / f".{name}.{suffix}.partial"
        try:
            _table(source.uri, partial, [f"--format={suffix}", *options])
            os.replace(partial, folder / f"{name}.{suffix}")
        finally:
            partial.unlink(missing_ok=True)
    return f"tables: {folder / f'trials.{suffix}'}, {folder / f'epochs.{suffix}'}"


def _table(uri: str, path: Path, options: list[str]) -> None:
    with path.open("wb") as file:
        command = [sys.executable, "-m", "analysis.table", uri, *options]
        done = subprocess.run(command, stdout=file, stderr=subprocess.PIPE, text=True, check=False, cwd=BESIDE)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["analysis.table gave no reason"]
        raise UserError(said[-1].removeprefix("error: "))
