"""The best trials trained again with other seeds, once the search has ended: what differs between them is luck.

A replicate is a trial like any other, on the same lanes. But nothing that decides in a search hears of it, and no
comparison of choices counts it: what it repeats stands for both.
"""

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from seg.experiment import Experiment
from study import leaders
from study.budget import Account
from study.comparison import Shares
from study.proposal import Proposal, going_on
from study.records import REPLICATE, Record

if TYPE_CHECKING:
    from study.spec import Spec

STEP = 100_000
"""Trial 7, whose seed is 0, is repeated as trial 100007 with seed 100000, as trial 200007 with seed 200000, and so on.
Both follow from what is repeated: wherever a study is cut off, each is run once, and more searched trials may follow.
No searched trial has such a number, nor such a seed: one that repeats another by chance has one of the next ones."""


class Replicates:
    """Those of a study while it runs. Which they are nobody knows before its search has ended."""

    def __init__(
        self,
        spec: "Spec",
        earlier: Iterable[Record],
        account: Account,
        on_begin: Callable[[Sequence[Proposal]], None],
    ):
        """`earlier`: replicates of earlier sessions. `on_begin` is told once of those that are still to run."""
        self._spec, self._account, self._on_begin = spec, account, on_begin
        self._earlier = list(earlier)
        self._searched: dict[int, Record] = {}
        self._queue: deque[Proposal] | None = None

    def searched(self, record: Record) -> None:
        """A trial of the search has ended."""
        self._searched[record.trial] = record

    @property
    def expected(self) -> bool:
        """Whether there may be any, as far as is known while the search goes on."""
        return self._spec.finalists.seeds > 1 or not all(record.state.ended for record in self._earlier)

    @property
    def begun(self) -> bool:
        return self._queue is not None

    def any_left(self, search_over: bool) -> bool:
        """Whether one can begin; they do once the search is over."""
        if self._queue is None and search_over:
            self._queue = deque(left(self._spec, [*self._searched.values(), *self._earlier]))
            self.keep_to_the_budget()
            self._on_begin(self._queue or [])
        return bool(self._queue)

    def next(self) -> Proposal:
        """IndexError where none is left."""
        assert self._queue is not None
        return self._queue.popleft()

    def keep_to_the_budget(self) -> None:
        """One takes as long as what it repeats."""
        first = self._queue[0] if self._queue else None
        if first is None or first.record or first.replicate_of is None:
            return
        if not self._account.holds_another(self._searched[first.replicate_of].train_seconds / 3600):
            self._queue = deque()


def most(spec: "Spec") -> int:
    """Trials beside those of the search, where as many finish as are to be repeated."""
    values = len(Shares(spec).values) if spec.compare else 1
    return min(values * spec.finalists.top, spec.trials) * (spec.finalists.seeds - 1)


def left(spec: "Spec", records: Iterable[Record]) -> list[Proposal]:
    """Those begun and not ended, then those not begun, of the best trial first. `records`: all of the study, whose
    search has ended: before that nobody knows who leads."""
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
