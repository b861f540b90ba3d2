"""Replicates: the best trials trained again with other seeds, once the search has ended.

What differs between a trial and its replicates is luck. A replicate is a trial like any other, on the same lanes.
But the searcher and the scheduler never see it, and no comparison of choices counts it: the trial that it repeats
stands for both.
"""

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from seg.experiment import Experiment
from study.ranking import leaders
from study.search.account import Account
from study.search.comparison import FairShares
from study.search.searcher import Proposal, going_on
from study.spec.spec import STEP
from study.store.records import REPLICATE, Record

if TYPE_CHECKING:
    from study.spec import Spec


class Replicates:
    """The replicates of a running study. Which trials they repeat is known only once the search has ended."""

    def __init__(
        self,
        spec: "Spec",
        earlier: Iterable[Record],
        account: Account,
        on_begin: Callable[[Sequence[Proposal]], None],
    ):
        """Start with the replicates of `earlier` sessions. `on_begin` is called once with those still to run."""
        self._spec, self._account, self._on_begin = spec, account, on_begin
        self._earlier = list(earlier)
        self._searched: dict[int, Record] = {}
        self._queue: deque[Proposal] | None = None

    def searched(self, record: Record) -> None:
        """Note a trial of the search that has ended."""
        self._searched[record.trial] = record

    @property
    def expected(self) -> bool:
        """Whether there may be replicates, as far as this is known while the search goes on."""
        return self._spec.finalists.seeds > 1 or not all(record.state.ended for record in self._earlier)

    @property
    def begun(self) -> bool:
        return self._queue is not None

    def any_left(self, search_over: bool) -> bool:
        """Whether a replicate can begin. The first one begins once the search is over."""
        if self._queue is None and search_over:
            self._queue = deque(left(self._spec, [*self._searched.values(), *self._earlier]))
            self.keep_to_the_budget()
            self._on_begin(self._queue or [])
        return bool(self._queue)

    def next(self) -> Proposal:
        """Return the next replicate. Raises IndexError if none is left."""
        assert self._queue is not None
        return self._queue.popleft()

    def keep_to_the_budget(self) -> None:
        """Drop all replicates if a new one does not fit the budget. It takes as long as the trial that it repeats."""
        first = self._queue[0] if self._queue else None
        if first is None or first.record or first.replicate_of is None:
            return
        if not self._account.holds_another(self._searched[first.replicate_of].train_seconds / 3600):
            self._queue = deque()


def most(spec: "Spec") -> int:
    """Return the maximum number of replicates, reached if enough trials of the search finish."""
    values = len(FairShares(spec).values) if spec.compare else 1
    return min(values * spec.finalists.top, spec.trials) * (spec.finalists.seeds - 1)


def left(spec: "Spec", records: Iterable[Record]) -> list[Proposal]:
    """Return the replicates still to run: those already begun, then the others, the best trial's first.

    `records`: all records of the study. Its search must have ended, because the best trials are not known before.
    """
    records = list(records)
    begun = {record.trial: record for record in records if record.replicate_of is not None}
    unfinished = [going_on(record) for record in begun.values() if not record.state.ended]
    return unfinished + [one for one in _wanted(spec, records) if one.trial not in begun]


def _wanted(spec: "Spec", records: list[Record]) -> list[Proposal]:
    best = leaders.best(records, spec.objectives, spec.finalists.top, spec.compare)
    return [_again(record, number) for record in best for number in range(1, spec.finalists.seeds)]


def _again(record: Record, number: int) -> Proposal:
    experiment = Experiment.from_json(record.experiment)
    other = dataclasses.replace(experiment, seed=experiment.seed + number * STEP)
    return Proposal(record.trial + number * STEP, REPLICATE, other, replicate_of=record.trial)
