"""What TensorBoard's HPARAMS tab reads: the study's columns in the folder above, each trial's values in its own.

https://github.com/tensorflow/tensorboard/blob/master/tensorboard/plugins/hparams/api.proto
"""

from typing import Any

from tensorboardX.proto.api_pb2 import DataType, Experiment, HParamInfo, MetricInfo, MetricName, Status
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata

from study.exporters.source import Source, Value, final_scores, parameters, timestamp
from study.records import Record, State

STATUS = {State.RUNNING: "STATUS_RUNNING", State.COMPLETE: "STATUS_SUCCESS", State.PRUNED: "STATUS_SUCCESS"}
TYPES = {bool: "DATA_TYPE_BOOL", str: "DATA_TYPE_STRING"}
FIELDS = {bool: "bool_value", str: "string_value"}


def columns(source: Source) -> Summary.Value:
    """Every column that some trial fills: without this the tab takes those of one trial for all."""
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
    told = SessionStartInfo(group_name=f"trial {record.trial}", start_time_secs=timestamp(record.started))
    for name, value in parameters(record).items():
        setattr(told.hparams[name], FIELDS.get(type(value), "number_value"), value)
    return _summary("session_start_info", HParamsPluginData(session_start_info=told))


def end(record: Record) -> Summary.Value:
    status = Status.Value(STATUS.get(record.state, "STATUS_FAILURE"))
    info = SessionEndInfo(status=status, end_time_secs=timestamp(record.finished))
    return _summary("session_end_info", HParamsPluginData(session_end_info=info))


def _summary(tag: str, content: Any) -> Summary.Value:
    data = SummaryMetadata.PluginData(plugin_name="hparams", content=content.SerializeToString())
    return Summary.Value(tag=f"_hparams_/{tag}", metadata=SummaryMetadata(plugin_data=data))
