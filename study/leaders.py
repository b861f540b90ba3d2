"""Which trials lead: by the objective at their best epoch, finished ones only."""

from collections.abc import Iterable

from study.objective import Objective
from study.records import Record, State


def ranked(
    records: Iterable[Record], objective: Objective, states: tuple[State, ...] = (State.COMPLETE,)
) -> list[Record]:
    """Best first; ties by trial number. Trials without a score are left out."""
    scored = [r for r in records if r.state in states and objective.scored(r.best)]
    sign = -1 if objective.mode == "max" else 1
    return sorted(scored, key=lambda r: (sign * r.best[objective.metric], r.trial))


def finalists(records: Iterable[Record], objective: Objective, count: int) -> list[Record]:
    """The `count` best, and every finished published baseline: its test figures are what the best is held against."""
    order = ranked(records, objective)
    return order[:count] + [record for record in order[count:] if record.source != "search"]
