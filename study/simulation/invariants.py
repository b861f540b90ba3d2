"""What holds in every study, whatever happens: checked of a simulated one while it runs, and of what it leaves."""

from collections import Counter
from collections.abc import Iterator

from study.records import Record, State
from study.simulation.lanes import Lanes
from study.spec import Spec


class Watch:
    """Counts for itself, from the records' changes and the lanes alone, what the search is not asked about."""

    def __init__(self, spec: Spec):
        self._trials = spec.trials
        self._begun: set[int] = set()
        self._ended: Counter[int] = Counter()
        self._idle: list[float] = []

    def change(self, record: Record) -> None:
        self._begun.add(record.trial)
        self._ended[record.trial] += record.state.ended

    def look(self, lanes: Lanes, seconds: float) -> None:
        """After each event: a free lane while trials wait whose node was lost, or have not begun, is idle."""
        if lanes.free and (lanes.lost or len(self._begun) < self._trials):
            self._idle.append(seconds)

    def violations(self) -> Iterator[str]:
        for trial in range(self._trials):
            if (times := self._ended[trial]) != 1:
                yield f"trial {trial} came to an end {times} times"
        for seconds in self._idle:
            yield f"a lane was idle at {seconds:.0f} s while trials waited"


def violations(records: list[Record], spec: Spec) -> Iterator[str]:
    """Of what the store holds."""
    if (found := [record.trial for record in records]) != list(range(spec.trials)):
        yield f"{len(found)} records, not one of each of {spec.trials} trials"
    for record in records:
        yield from _of_one(record)


def _of_one(record: Record) -> Iterator[str]:
    epochs = [row["epoch"] for row in record.epochs]
    if epochs != list(range(1, len(epochs) + 1)):
        yield f"trial {record.trial} has epochs {epochs}: each must be there once, in order"
    if not record.state.ended or record.paused_at or not record.finished:
        yield f"trial {record.trial} has not ended: {record.standing}"
    whole = len(epochs) == record.experiment["epochs"]
    if whole != (record.state is State.COMPLETE) and record.state in (State.COMPLETE, State.PRUNED):
        yield f"trial {record.trial} is {record.state} with {len(epochs)} of {record.experiment['epochs']} epochs"
    if record.state in (State.FAILED, State.INFEASIBLE) and not record.reason:
        yield f"trial {record.trial} is {record.state} without a reason"
