"""The search of a study that compares the values of a choice: of each its own searcher and its own scheduler, which
know of no other value's trials."""

import dataclasses
from collections.abc import Sequence
from typing import Protocol

from seg.experiment import Experiment
from study import schedulers
from study.comparison import Shares
from study.dimension import Value
from study.records import Record
from study.schedulers import Decision, Scheduler
from study.searcher import Searcher
from study.spec import Spec


class Asked(Protocol):
    """A searcher, or several."""

    def ask(self, trial: int) -> Experiment: ...

    def begin(self, trial: int, experiment: Experiment) -> None: ...

    def tell(self, record: Record) -> None: ...


def searcher(spec: Spec) -> Asked:
    return EachItsSearcher(Shares(spec)) if spec.compare else Searcher(spec)


def scheduler(spec: Spec) -> Scheduler:
    return EachItsScheduler(Shares(spec)) if spec.compare else schedulers.build(spec)


class EachItsSearcher:
    """The n-th trial of one value is drawn by the same random numbers as the n-th of another: where nothing is known
    yet, all values begin with the same choices otherwise."""

    def __init__(self, shares: Shares):
        self._shares = shares
        self._each = {value: Searcher(shares.alone(value)) for value in shares.values}

    def ask(self, trial: int) -> Experiment:
        return self._each[self._shares.value(trial)].ask(self._shares.number(trial))

    def begin(self, trial: int, experiment: Experiment) -> None:
        self._each[self._shares.value(trial)].begin(self._shares.number(trial), experiment)

    def tell(self, record: Record) -> None:
        own = dataclasses.replace(record, trial=self._shares.number(record.trial))
        self._each[self._shares.value(record.trial)].tell(own)


class EachItsScheduler:
    """Trials stop, pause and go on for what others of their own value have done."""

    def __init__(self, shares: Shares):
        self._shares = shares
        self._each = {value: schedulers.build(shares.alone(value)) for value in shares.values}
        self._trials: dict[tuple[Value, int], int] = {}
        """By value, and number of its own study."""
        self.pauses = any(one.pauses for one in self._each.values())

    def judge(self, trial: int, scores: Sequence[float]) -> Decision:
        value, number = self._place(trial)
        return self._each[value].judge(number, scores)

    def remember(self, trial: int, scores: Sequence[float]) -> None:
        value, number = self._place(trial)
        self._each[value].remember(number, scores)

    def promotable(self, last: bool = False) -> int | None:
        found = ((value, one.promotable(last)) for value, one in self._each.items())
        return next((self._trials[value, number] for value, number in found if number is not None), None)

    def promote(self, trial: int) -> None:
        value, number = self._place(trial)
        self._each[value].promote(number)

    def settle(self) -> list[int]:
        return [self._trials[value, number] for value, one in self._each.items() for number in one.settle()]

    def _place(self, trial: int) -> tuple[Value, int]:
        place = self._shares.value(trial), self._shares.number(trial)
        self._trials[place] = trial
        return place
