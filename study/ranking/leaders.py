"""The leading trials: finished ones, ranked by the objective at their best epoch."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np

from study.ranking import objective, pareto
from study.ranking.expected_best import Ended, Value
from study.ranking.objective import Objective
from study.store.records import Record, State


def ranked(records: Iterable[Record], by: Objective, states: tuple[State, ...] = (State.COMPLETE,)) -> list[Record]:
    """Return the trials in one of `states` that have a score, best first; ties by trial number.

    Seed replicates are left out: the trial that they repeat stands for them.
    """
    scored = [r for r in records if r.state in states and by.scored(r.best) and r.replicate_of is None]
    return sorted(scored, key=lambda r: (by.sign * r.best[by.metric], r.trial))


def on_front(records: Iterable[Record], objectives: Sequence[Objective]) -> list[Record]:
    """Return the finished trials that no other beats in one objective without losing in another (the Pareto set).

    The best comes first. A trial that lacks a value of an objective is left out. With one objective, this is the best
    trial and any that equal it.
    """
    finished = _finished(records, objectives)
    kept = pareto.front(_points(finished, objectives))
    return [record for record, keep in zip(finished, kept, strict=True) if keep]


def by_value(records: Iterable[Record], compare: str) -> dict[Value, list[Record]]:
    """Group the trials by their value of a compared choice, in the order in which the values first appear."""
    groups: dict[Value, list[Record]] = {}
    for record in records:
        groups.setdefault(record.experiment[compare], []).append(record)
    return groups


def ended_by_value(records: Iterable[Record], compare: str, by: Objective) -> dict[Value, list[Ended]]:
    """Return the searched trials that have ended, grouped as expected_best.standings needs them."""
    searched = [record for record in records if record.state.ended and record.source == "search"]
    scored = State.COMPLETE, State.PRUNED
    return {
        value: [(record.trial, by.value(record) if record.state in scored else None) for record in group]
        for value, group in by_value(searched, compare).items()
    }


def best(
    records: Iterable[Record], objectives: Sequence[Objective], count: int, compare: str | None = None
) -> list[Record]:
    """Return the `count` best trials, best first.

    With several objectives, pareto.representatives chooses them from the front. If the values of a choice are
    compared, there are `count` of each value.
    """
    return _of_each_value(records, objectives, compare, partial(_best, objectives=objectives, count=count))


def finalists(
    records: Iterable[Record], objectives: Sequence[Objective], count: int, compare: str | None = None
) -> list[Record]:
    """Return the `count` best trials (see best) and every finished baseline, best first, then seed replicates.

    The best trials are compared with the baselines' test scores. The replicates are those of the best trials that have
    finished.
    """
    records = list(records)
    return _with_company(records, objectives, best(records, objectives, count, compare))


def contenders(
    records: Iterable[Record], objectives: Sequence[Objective], count: int, compare: str | None = None
) -> list[Record]:
    """Return the trials that can still become finalists.

    A trial that is excluded now stays excluded, whatever trials follow. With several objectives these are the whole
    front, because the choice among them changes with later trials.
    """
    if len(objectives) == 1 or not count:
        return finalists(records, objectives, count, compare)
    records = list(records)
    front = _of_each_value(records, objectives, compare, partial(on_front, objectives=objectives))
    return _with_company(records, objectives, front)


def replicates(records: Iterable[Record], of: Iterable[Record], objectives: Sequence[Objective]) -> list[Record]:
    """Return the finished seed replicates of the trials `of`, by number."""
    repeated = {record.trial for record in of}
    found = [record for record in records if record.replicate_of in repeated and _competes(record, objectives)]
    return sorted(found, key=lambda record: record.trial)


def _with_company(records: list[Record], objectives: Sequence[Objective], chosen: list[Record]) -> list[Record]:
    """Return the chosen trials and the finished baselines, best first, then the replicates of the chosen trials."""
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
    """Return the finished trials that can be compared, best first.

    They are ordered by the first objective, ties by the next ones, then by number. Seed replicates are left out: the
    trial that they repeat stands for them.
    """
    finished = [r for r in records if r.replicate_of is None and _competes(r, objectives)]
    return sorted(finished, key=lambda record: (*_place(record, objectives), record.trial))


def _competes(record: Record, objectives: Sequence[Objective]) -> bool:
    return record.state is State.COMPLETE and bool(objective.values(record, objectives))


def _place(record: Record, objectives: Sequence[Objective]) -> tuple[float, ...]:
    """Return the trial's value of each objective, turned so that less is better."""
    values = objective.values(record, objectives) or []
    return tuple(one.sign * value for one, value in zip(objectives, values, strict=True))


def _points(records: Sequence[Record], objectives: Sequence[Objective]) -> pareto.Points:
    """Return (N, objectives) values in which less is better."""
    return np.array([_place(record, objectives) for record in records], float).reshape(-1, len(objectives))
