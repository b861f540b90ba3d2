"""Which trials lead: by the objective at their best epoch, finished ones only."""

from collections.abc import Iterable

from study.objective import Objective
from study.records import Record, State
from study.store import Store


def ranked(
    records: Iterable[Record], objective: Objective, states: tuple[State, ...] = (State.COMPLETE,)
) -> list[Record]:
    """Best first; ties by trial number. Trials without a score are left out."""
    scored = [r for r in records if r.state in states and r.best.get(objective.metric) is not None]
    sign = -1 if objective.mode == "max" else 1
    return sorted(scored, key=lambda r: (sign * r.best[objective.metric], r.trial))


def finalists(records: Iterable[Record], objective: Objective, count: int) -> list[Record]:
    """The `count` best, and every finished published baseline: its test figures are what the best is held against."""
    order = ranked(records, objective)
    return order[:count] + [record for record in order[count:] if record.source != "search"]


def drop_weights(store: Store, records: Iterable[Record], objective: Objective, count: int) -> None:
    """Delete the checkpoints of ended trials, and the best weights of those that can no longer be finalists."""
    records = list(records)
    kept = {record.trial for record in finalists(records, objective, count)}
    for record in records:
        if not record.state.ended:
            continue
        store.delete(f"{record.folder}/checkpoint.safetensors")
        if record.trial not in kept:
            store.delete(f"{record.folder}/best.safetensors")
