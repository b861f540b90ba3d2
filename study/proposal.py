"""A trial that a free lane is to take."""

from dataclasses import dataclass

from seg.experiment import Experiment
from study.records import Record


@dataclass(frozen=True)
class Proposal:
    """`record` is there where it goes on from one already begun, `replicate_of` where it repeats a finalist."""

    trial: int
    source: str
    experiment: Experiment
    record: Record | None = None
    replicate_of: int | None = None


def going_on(record: Record) -> Proposal:
    experiment = Experiment.from_json(record.experiment)
    return Proposal(record.trial, record.source, experiment, record, record.replicate_of)
