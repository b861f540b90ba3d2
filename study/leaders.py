"""Which trials lead: by the objective at their best epoch, finished ones only."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np

from study import objective, pareto
from study.best_of import Ended, Value
from study.objective import Objective
from study.records import Record, State


def ranked(records: Iterable[Record], by: Objective, states: tuple[State, ...] = (State.COMPLETE,)) -> list[Record]:
    """Best first; ties by trial number. Trials without a score are left out, and seed replicates: what they repeat
    stands for them."""
    scored = [r for r in records if r.state in states and by.scored(r.best) and r.replicate_of is None]
    return sorted(scored, key=lambda r: (by.sign * r.best[by.metric], r.trial))


def on_front(records: Iterable[Record], objectives: Sequence[Objective]) -> list[Record]:
    """The Pareto set: finished trials that no other finished one equals in every objective and beats in one. Best
    first; a trial that lacks a value of one is left out. With one objective, the best."""
    finished = _finished(records, objectives)
    kept = pareto.front(_points(finished, objectives))
    return [record for record, keep in zip(finished, kept, strict=True) if keep]


def by_value(records: Iterable[Record], compare: str) -> dict[Value, list[Record]]:
    """By the value of a choice that is compared, in the order in which they first came up."""
    groups: dict[Value, list[Record]] = {}
    for record in records:
        groups.setdefault(record.experiment[compare], []).append(record)
    return groups


def ended_by_value(records: Iterable[Record], compare: str, by: Objective) -> dict[Value, list[Ended]]:
    """Searched trials that have ended, as best_of.standings takes them."""
    searched = [record for record in records if record.state.ended and record.source == "search"]
    scored = State.COMPLETE, State.PRUNED
    return {
        value: [(record.trial, by.value(record) if record.state in scored else None) for record in group]
        for value, group in by_value(searched, compare).items()
    }


def best(
    records: Iterable[Record], objectives: Sequence[Objective], count: int, compare: str | None = None
) -> list[Record]:
    """The `count` best, best first. With several objectives, of the front those that pareto.representatives chooses.
    Where the values of a choice are compared, so many of each."""
    return _of_each_value(records, objectives, compare, partial(_best, objectives=objectives, count=count))


def finalists(
    records: Iterable[Record], objectives: Sequence[Objective], count: int, compare: str | None = None
) -> list[Record]:
    """The `count` best, see best, and every finished published baseline: its test figures are what the best is held
    against. Best first; behind them the finished seed replicates of the best."""
    records = list(records)
    return _with_company(records, objectives, best(records, objectives, count, compare))


def contenders(
    records: Iterable[Record], objectives: Sequence[Objective], count: int, compare: str | None = None
) -> list[Record]:
    """Who may still be a finalist: who is none, will be none whatever trials come. With several objectives all of the
    front, because which of them are chosen changes with what comes."""
    if len(objectives) == 1 or not count:
        return finalists(records, objectives, count, compare)
    records = list(records)
    front = _of_each_value(records, objectives, compare, partial(on_front, objectives=objectives))
    return _with_company(records, objectives, front)


def replicates(records: Iterable[Record], of: Iterable[Record], objectives: Sequence[Objective]) -> list[Record]:
    """Of these trials, those that finished with another seed, by number."""
    repeated = {record.trial for record in of}
    found = [record for record in records if record.replicate_of in repeated and _competes(record, objectives)]
    return sorted(found, key=lambda record: record.trial)


def _with_company(records: list[Record], objectives: Sequence[Objective], chosen: list[Record]) -> list[Record]:
    """Those chosen and the baselines in their order, then the replicates of those chosen."""
    trials = {record.trial for record in chosen}
    order = [r for r in _finished(records, objectives) if r.trial in trials or r.source != "search"]
    return order + replicates(records, chosen, objectives)


def _of_each_value(
    records: Iterable[Record],
    objectives: Sequence[Objective],
    compare: str | None,
    choose: Callable[[list[Record]], list[Record]],
) -> list[Record]:
    finished = _finished(records, objectives)
    groups = by_value(finished, compare).values() if compare else [finished]
    chosen = {record.trial for group in groups for record in choose(group)}
    return [record for record in finished if record.trial in chosen]


def _best(finished: list[Record], objectives: Sequence[Objective], count: int) -> list[Record]:
    if len(objectives) == 1:
        return finished[:count]
    front = on_front(finished, objectives)
    return [front[place] for place in pareto.representatives(_points(front, objectives), count)]


def _finished(records: Iterable[Record], objectives: Sequence[Objective]) -> list[Record]:
    """Those that can be compared, best first: by the first objective, ties by the next ones, then by number. Not seed
    replicates: what they repeat stands for them."""
    finished = [r for r in records if r.replicate_of is None and _competes(r, objectives)]
    return sorted(finished, key=lambda record: (*_place(record, objectives), record.trial))


def _competes(record: Record, objectives: Sequence[Objective]) -> bool:
    return record.state is State.COMPLETE and bool(objective.values(record, objectives))


def _place(record: Record, objectives: Sequence[Objective]) -> tuple[float, ...]:
    """Less is better."""
    values = objective.values(record, objectives) or []
    return tuple(one.sign * value for one, value in zip(objectives, values, strict=True))


def _points(records: Sequence[Record], objectives: Sequence[Objective]) -> pareto.Points:
    """(N, objectives), less is better."""
    return np.array([_place(record, objectives) for record in records], float).reshape(-1, len(objectives))
