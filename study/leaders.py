"""Which trials lead: by the objective at their best epoch, finished ones only."""

from collections.abc import Iterable

from study.objective import Objective
from study.records import Record, State


def ranked(
    records: Iterable[Record], objective: Objective, states: tuple[State, ...] = (State.COMPLETE,)
) -> list[Record]:
    """Best first; ties by trial number. Trials without a score are left out, and seed replicates: what they repeat
    stands for them."""
    found = [record for record in _scored(records, objective, states) if record.replicate_of is None]
    sign = -1 if objective.mode == "max" else 1
    return sorted(found, key=lambda r: (sign * r.best[objective.metric], r.trial))


def finalists(records: Iterable[Record], objective: Objective, count: int) -> list[Record]:
    """The `count` best; every finished published baseline: its test figures are what the best is held against; and
    the finished replicates of the best."""
    records = list(records)
    order = ranked(records, objective)
    best = order[:count]
    baselines = [record for record in order[count:] if record.source != "search"]
    return [*best, *baselines, *replicates(records, objective, best)]


def replicates(records: Iterable[Record], objective: Objective, of: Iterable[Record]) -> list[Record]:
    """Those of these trials that finished, by number."""
    repeated = {record.trial for record in of}
    found = [r for r in _scored(records, objective, (State.COMPLETE,)) if r.replicate_of in repeated]
    return sorted(found, key=lambda r: r.trial)


def _scored(records: Iterable[Record], objective: Objective, states: tuple[State, ...]) -> list[Record]:
    return [record for record in records if record.state in states and objective.scored(record.best)]
