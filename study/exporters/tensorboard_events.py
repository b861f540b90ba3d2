"""TensorBoard event files: a folder a trial, and one file of the whole study above them."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import RecordWriter

from study.exporters import hparams
from study.exporters.output import claim
from study.exporters.source import (
    Source,
    epoch_ends,
    final_scores,
    fingerprint,
    numbers,
    timestamp,
    with_progress,
)
from study.records import Record

EVENTS = "events.out.tfevents.0.segstudy"
"""TensorBoard knows its files by the first three words."""


def write(source: Source, out: Path | None) -> str:
    """Trials that are as they were at the last export are left as they are."""
    output = claim(source, "tensorboard", out)
    _write(output.path, [_event(timestamp(source.info["created"]), 0, [hparams.columns(source)])])
    try:
        for record in with_progress(source.records):
            folder, mark = output.path / f"trial-{record.trial:05d}", fingerprint(record)
            if not (output.has(record.trial, mark) and (folder / EVENTS).exists()):
                _write(folder, _events(record))
                output.add(record.trial, mark)
    finally:
        output.save()
    return f"look at it: tensorboard --logdir {output.path}"


def _write(folder: Path, events: Iterable[Event]) -> None:
    """In place of the file that is there: whatever was in it is in this one."""
    folder.mkdir(exist_ok=True)
    partial = folder / ".partial"
    writer = RecordWriter(str(partial))
    for event in (Event(wall_time=0.0, file_version="brain.Event:2"), *events):
        writer.write(event.SerializeToString())
    writer.close()
    os.replace(partial, folder / EVENTS)


def _events(record: Record) -> Iterator[Event]:
    begun = last = timestamp(record.started)
    yield _event(begun, 0, [hparams.start(record)])
    for row, end in epoch_ends(record):
        yield _event(end, row["epoch"], _scalars(numbers(row)))
        last = end
    # The tab shows a tag's last value: of the scores by epoch that would not be the best epoch's.
    yield _event(last, record.best_epoch or 0, _scalars(final_scores(record).items()))
    yield _event(last, 0, [hparams.end(record)])


def _scalars(named: Iterable[tuple[str, float]]) -> list[Summary.Value]:
    return [Summary.Value(tag=name, simple_value=value) for name, value in named]


def _event(wall_time: float, step: int, values: list[Summary.Value]) -> Event:
    return Event(wall_time=wall_time, step=step, summary=Summary(value=values))
