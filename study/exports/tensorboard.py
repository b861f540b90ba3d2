"""Export to TensorBoard event files: one folder per trial, and one file for the whole study above them.

TensorBoard's HPARAMS tab reads the study's columns from the folder above and each trial's values from its own:
https://github.com/tensorflow/tensorboard/blob/master/tensorboard/plugins/hparams/api.proto
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tensorboardX.proto.api_pb2 import DataType, Experiment, HParamInfo, MetricInfo, MetricName, Status
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboardX.record_writer import RecordWriter

from study.exports.source import (
    Source,
    Value,
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

STATUS = {State.RUNNING: "STATUS_RUNNING", State.COMPLETE: "STATUS_SUCCESS", State.PRUNED: "STATUS_SUCCESS"}
TYPES = {bool: "DATA_TYPE_BOOL", str: "DATA_TYPE_STRING"}
FIELDS = {bool: "bool_value", str: "string_value"}


def columns(source: Source) -> Summary.Value:
    """Return every column that some trial fills. Without them the tab uses one trial's columns for all."""
    values: dict[str, list[Value]] = {}
    for record in source.records:
        for name, value in parameters(record).items():
            values.setdefault(name, []).append(value)
    scores = dict.fromkeys(name for record in source.records for name in final_scores(record))
    experiment = Experiment(
        name=source.name,
        time_created_secs=timestamp(source.info["created"]),
        hparam_infos=[_column(name, given) for name, given in values.items()],
        metric_infos=[MetricInfo(name=MetricName(tag=name)) for name in scores],
    )
    return _summary("experiment", HParamsPluginData(experiment=experiment))


def _column(name: str, values: list[Value]) -> HParamInfo:
    kind = type(values[0])
    info = HParamInfo(name=name, type=DataType.Value(TYPES.get(kind, "DATA_TYPE_FLOAT64")))
    if kind in TYPES:
        info.domain_discrete.extend(sorted(set(values)))
    else:
        info.domain_interval.min_value, info.domain_interval.max_value = min(values), max(values)
    return info


def start(record: Record) -> Summary.Value:
    start = SessionStartInfo(group_name=f"trial {record.trial}", start_time_secs=timestamp(record.started))
    for name, value in parameters(record).items():
        setattr(start.hparams[name], FIELDS.get(type(value), "number_value"), value)
    return _summary("session_start_info", HParamsPluginData(session_start_info=start))


def end(record: Record) -> Summary.Value:
    status = Status.Value(STATUS.get(record.state, "STATUS_FAILURE"))
    info = SessionEndInfo(status=status, end_time_secs=timestamp(record.finished))
    return _summary("session_end_info", HParamsPluginData(session_end_info=info))


def _summary(tag: str, content: Any) -> Summary.Value:
    data = SummaryMetadata.PluginData(plugin_name="hparams", content=content.SerializeToString())
    return Summary.Value(tag=f"_hparams_/{tag}", metadata=SummaryMetadata(plugin_data=data))


EVENTS = "events.out.tfevents.0.segstudy"
"""The name of an event file. TensorBoard recognises its files by the first three words."""


def write(source: Source, out: Path | None) -> str:
    """Write the study to `out`. Trials that have not changed since the last export are left alone."""
    output = claim(source, "tensorboard", out)
    _write(output.path, [_event(timestamp(source.info["created"]), 0, [columns(source)])])
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
    """Replace the folder's event file. The new file also holds everything that the old one held."""
    folder.mkdir(exist_ok=True)
    partial = folder / ".partial"
    writer = RecordWriter(str(partial))
    for event in (Event(wall_time=0.0, file_version="brain.Event:2"), *events):
        writer.write(event.SerializeToString())
    writer.close()
    os.replace(partial, folder / EVENTS)


def _events(record: Record) -> Iterator[Event]:
    begun = last = timestamp(record.started)
    yield _event(begun, 0, [start(record)])
    for row, ended in epoch_ends(record):
        yield _event(ended, row["epoch"], _scalars(numbers(row)))
        last = ended
    # The tab shows each tag's last value. For the scores by epoch, that is not the best epoch's value.
    yield _event(last, record.best_epoch or 0, _scalars(final_scores(record).items()))
    yield _event(last, 0, [end(record)])


def _scalars(named: Iterable[tuple[str, float]]) -> list[Summary.Value]:
    return [Summary.Value(tag=name, simple_value=value) for name, value in named]


def _event(wall_time: float, step: int, values: list[Summary.Value]) -> Event:
    return Event(wall_time=wall_time, step=step, summary=Summary(value=values))
