"""A study to be exported, and what other tools want to know of its trials."""

import hashlib
import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tqdm import tqdm

from study.records import Record, encode_record

Value = bool | int | float | str
ELSEWHERE = frozenset({"loss_parameters", "epochs"})
"""Fields of an experiment that are no hyperparameters of their own."""


class ExportError(Exception):
    """What keeps a study from being exported. One line: what, where, what to do."""


@dataclass(frozen=True)
class Source:
    uri: str
    info: dict[str, Any]
    """study.json"""
    records: list[Record]

    @property
    def name(self) -> str:
        return str(self.info["name"])

    @property
    def identity(self) -> str:
        """Two studies may have one name; nothing makes them begin at one time as well."""
        return f"{self.name} {self.info['created']}"


def with_progress(records: list[Record]) -> Iterable[Record]:
    return tqdm(records, unit="trial", disable=not sys.stderr.isatty())


def fingerprint(record: Record) -> str:
    """Changes where anything of the trial does."""
    return hashlib.sha256(encode_record(record)).hexdigest()[:16]


def parameters(record: Record) -> dict[str, Value]:
    """What the trial was told, by the names of the table's columns; what it was not told is left out."""
    experiment = record.experiment
    told = {name: value for name, value in experiment.items() if name not in ELSEWHERE}
    told |= {f"loss_{name}": value for name, value in experiment.get("loss_parameters", {}).items()}
    told |= {"epochs_planned": experiment.get("epochs"), "source": record.source, "replicate_of": record.replicate_of}
    return {name: value for name, value in told.items() if isinstance(value, bool | int | float | str)}


def final_scores(record: Record) -> dict[str, float]:
    """`best/val_iou` and its like of the best epoch, `test/iou` and its like of finalists."""
    best = {f"best/{name}": value for name, value in record.best.items() if name.startswith("val_")}
    return dict(numbers(best | {f"test/{name}": value for name, value in (record.test or {}).items()}))


def numbers(row: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """What is a finite number, `epoch` aside: that is where the others stand."""
    for name, value in row.items():
        if name != "epoch" and isinstance(value, int | float) and math.isfinite(value):
            yield name, float(value)


def epoch_ends(record: Record) -> Iterator[tuple[dict[str, Any], float]]:
    """Each epoch and when it ended, in seconds since 1970, as if nothing had come between: the same at every export."""
    end = timestamp(record.started)
    for row in record.epochs:
        end += row.get("seconds") or 0.0
        yield row, end


def timestamp(moment: str) -> float:
    """Seconds since 1970 of a time in ISO 8601; 0 where it is empty."""
    if not moment:
        return 0.0
    read = datetime.fromisoformat(moment)
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
