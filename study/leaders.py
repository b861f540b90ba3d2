"""Which trials lead: by the objective at their best epoch, finished ones only."""

from collections.abc import Iterable, Sequence

import numpy as np

from study import objective, pareto
from study.objective import Objective
from study.records import Record, State


def ranked(records: Iterable[Record], by: Objective, states: tuple[State, ...] = (State.COMPLETE,)) -> list[Record]:
    """Best first; ties by trial number. Trials without a score are left out."""
    scored = [r for r in records if r.state in states and by.scored(r.best)]
    return sorted(scored, key=lambda r: (by.sign * r.best[by.metric], r.trial))


def on_front(records: Iterable[Record], objectives: Sequence[Objective]) -> list[Record]:
    """The Pareto set: finished trials that no other finished one equals in every objective and beats in one. Best
    first by the first objective; a trial that lacks a value of one is left out. With one objective, the best."""
    finished = [r for r in records if r.state is State.COMPLETE and objective.values(r, objectives)]
    kept = pareto.front(_points(finished, objectives))
    return sorted(
        (record for record, keep in zip(finished, kept, strict=True) if keep),
        key=lambda record: (*_points([record], objectives)[0], record.trial),
    )


def contenders(records: Iterable[Record], objectives: Sequence[Objective], count: int) -> list[Record]:
    """Who may still be a finalist, best first: who is none, will be none whatever trials come. With several objectives
    all of the front, because which of them are chosen changes with what comes."""
    records = list(records)
    if len(objectives) == 1:
        return finalists(records, objectives, count)
    return _with_baselines(on_front(records, objectives) if count else [], records, objectives)


def finalists(records: Iterable[Record], objectives: Sequence[Objective], count: int) -> list[Record]:
    """The `count` best, and every finished published baseline: its test figures are what the best is held against.

    With several objectives, of the front those that pareto.representatives chooses."""
    records = list(records)
    if len(objectives) == 1:
        return _with_baselines(ranked(records, objectives[0])[:count], records, objectives)
    front = on_front(records, objectives)
    chosen = sorted(pareto.representatives(_points(front, objectives), count))
    return _with_baselines([front[place] for place in chosen], records, objectives)


def _with_baselines(first: list[Record], records: list[Record], objectives: Sequence[Objective]) -> list[Record]:
    chosen = {record.trial for record in first}
    order = ranked(records, objectives[0])
    return first + [record for record in order if record.source != "search" and record.trial not in chosen]


def _points(records: Sequence[Record], objectives: Sequence[Objective]) -> pareto.Points:
    """(N, objectives), less is better."""
    values = np.array([objective.values(record, objectives) for record in records], float)
    return values.reshape(-1, len(objectives)) * [one.sign for one in objectives]
