"""The search of a study that compares the values of one choice, for example of architectures.

The comparison is fair: each value gets equally many trials, its own search over all other choices, and early stopping
among its own trials. Its searcher and scheduler never see the trials of another value. On scientific and nuisance
hyperparameters see Godbole et al. 2023, "Deep Learning Tuning Playbook".
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from seg.experiment import Experiment
from study.search import schedulers
from study.search.schedulers import Decision, Scheduler
from study.search.searcher import Searcher
from study.spec import Spec
from study.spec.conditions import comparable, published
from study.spec.dimension import Value
from study.store.records import Record

if TYPE_CHECKING:
    from study.spec import Spec


class FairShares:
    """The compared value that each trial belongs to, and the trial's number in the study of that value alone.

    The values take turns in the searched trials, so that a study that ends early is still fair. A baseline may have
    a value that is not searched.
    """

    def __init__(self, spec: "Spec"):
        assert spec.compare is not None
        self._spec, self._compare = spec, spec.compare
        self._searched = comparable(spec)[spec.compare]
        self._baselines: list[Value] = [getattr(published(spec, one), spec.compare) for one in spec.baselines]
        self.values = tuple(dict.fromkeys([*self._searched, *self._baselines]))
        """The searched values, then those that only baselines have."""

    def value(self, trial: int) -> Value:
        first = len(self._baselines)
        return self._baselines[trial] if trial < first else self._searched[(trial - first) % len(self._searched)]

    def number(self, trial: int) -> int:
        """Return the trial's number in the study of its value: baselines come first, then the searched trials."""
        first = len(self._baselines)
        if trial < first:
            return self._baselines[:trial].count(self._baselines[trial])
        return self._baselines.count(self.value(trial)) + (trial - first) // len(self._searched)

    def alone(self, value: Value) -> "Spec":
        """Return the spec of the study of this value alone."""
        spec = self._spec
        assert spec.search is not None
        only = {str(value): spec.search.loss.get(str(value), {})} if self._compare == "loss" else (value,)
        own = tuple(one for one, of in zip(spec.baselines, self._baselines, strict=True) if of == value)
        searched = (spec.trials - len(spec.baselines)) // len(self._searched) if value in self._searched else 0
        search = spec.search.model_copy(update={self._compare: only})
        changes = {"search": search, "baselines": own, "trials": len(own) + searched, "compare": None}
        return spec.model_copy(update=changes)


class SearcherLike(Protocol):
    """The interface of one searcher, or of one searcher per value."""

    def ask(self, trial: int) -> Experiment: ...

    def begin(self, trial: int, experiment: Experiment) -> None: ...

    def tell(self, record: Record) -> None: ...


def searcher(spec: Spec) -> SearcherLike:
    return OneSearcherPerValue(FairShares(spec)) if spec.compare else Searcher(spec)


def scheduler(spec: Spec) -> Scheduler:
    return OneSchedulerPerValue(FairShares(spec)) if spec.compare else schedulers.build(spec)


class OneSearcherPerValue:
    """One searcher per value.

    The n-th trial of each value uses the same random numbers. As long as nothing is known, all values therefore begin
    with the same other choices.
    """

    def __init__(self, shares: FairShares):
        self._shares = shares
        self._each = {value: Searcher(shares.alone(value)) for value in shares.values}

    def ask(self, trial: int) -> Experiment:
        return self._each[self._shares.value(trial)].ask(self._shares.number(trial))

    def begin(self, trial: int, experiment: Experiment) -> None:
        self._each[self._shares.value(trial)].begin(self._shares.number(trial), experiment)

    def tell(self, record: Record) -> None:
        own = dataclasses.replace(record, trial=self._shares.number(record.trial))
        self._each[self._shares.value(record.trial)].tell(own)


class OneSchedulerPerValue:
    """One scheduler per value: a trial stops, pauses and goes on by comparison with trials of its own value only."""

    def __init__(self, shares: FairShares):
        self._shares = shares
        self._each = {value: schedulers.build(shares.alone(value)) for value in shares.values}
        self._trials: dict[tuple[Value, int], int] = {}
        """Trials by their value and their number in the study of that value."""
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
