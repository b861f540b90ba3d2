"""The number of a study's trials by state while it runs, and one line that says how far it is."""

import time
from collections import Counter
from collections.abc import Iterable

from seg.cli import duration
from study.ranking.leaders import ranked
from study.ranking.objective import Objective
from study.search.account import Account
from study.store.records import Record, State


class Tally:
    """The numbers of the progress display, computed from records alone.

    Each change of a record updates them without a pass over all records, of which there may be ten thousand. Only a
    change of the leading trial, and a trial that went back to its checkpoint, take such a pass.
    """

    def __init__(
        self,
        trials: int,
        lanes: int,
        objective: Objective,
        earlier: Iterable[Record] = (),
        account: Account | None = None,
        replicates: int = 0,
        untrained: float | None = None,
    ):
        """`trials` counts those of the search; `replicates` is the largest number of replicates besides them.

        `untrained` is the objective's value without any training, shown beside the best.
        """
        self._searched, self._replicates = trials, replicates
        self.lanes, self.objective, self.account = lanes, objective, account
        self.untrained = untrained
        self.states: Counter[str] = Counter()
        """Number of trials by state; paused trials count as `paused`."""
        self.ended = self.epochs = 0
        self.best: Record | None = None
        self._records: dict[int, Record] = {}
        self._running: dict[int, Record] = {}
        self._again: set[int] = set()
        """Replicates that have begun."""
        self._counted: dict[int, tuple[str, bool, int]] = {}
        """How each trial was counted: its state, whether it has ended, and its number of epochs."""
        for record in earlier:
            self.update(record)
        self._began = time.monotonic()
        self._epochs_before = self.epochs

    @property
    def trials(self) -> int:
        return self._searched + self._replicates

    def replicates(self, left: Iterable[int]) -> None:
        """Set the number of replicates once the search has ended: those begun, and those still to come in `left`."""
        self._replicates = len(self._again.union(left))

    def update(self, record: Record) -> None:
        standing, ended, epochs = self._counted.get(record.trial, ("", False, 0))
        if record.trial in self._counted:
            self._count(standing, ended, epochs, sign=-1)
        self._records[record.trial] = record
        if record.replicate_of is not None:
            self._again.add(record.trial)
        self._counted[record.trial] = (record.standing, record.state.ended, len(record.epochs))
        self._count(*self._counted[record.trial], sign=1)
        if record.standing == State.RUNNING:
            self._running[record.trial] = record
        else:
            self._running.pop(record.trial, None)
        leads = self.best is not None and record.trial == self.best.trial
        self._compare(record, may_be_worse=leads or len(record.epochs) < epochs)

    def _count(self, standing: str, ended: bool, epochs: int, sign: int) -> None:
        self.states[standing] += sign
        self.ended += sign * ended
        self.epochs += sign * epochs

    def _compare(self, record: Record, may_be_worse: bool) -> None:
        """Update the best trial.

        A trial that went back to its checkpoint may have become worse. So may the leading one, if its last or averaged
        weights are kept.
        """
        among = list(self._records.values()) if may_be_worse else [record, *([self.best] if self.best else [])]
        self.best = next(iter(ranked(among, self.objective, tuple(State))), None)

    @property
    def running(self) -> list[Record]:
        """The running trials by number. It is a copy: the display's thread reads it while records come in."""
        return sorted(list(self._running.values()), key=lambda record: record.trial)

    @property
    def elapsed_seconds(self) -> float:
        return time.monotonic() - self._began

    @property
    def remaining_seconds(self) -> float | None:
        """Seconds left at this session's pace of epochs, or until the budget ends if that is sooner.

        None until a trial has ended or paused. The remaining trials are expected to take as many epochs as those did on
        average, because few paused trials go on.
        """
        settled, new = self.ended + self.states["paused"], self.epochs - self._epochs_before
        if not settled or new <= 0:
            return None
        running = self.running
        average = (self.epochs - sum(len(record.epochs) for record in running)) / settled
        begun_again = len(self._again)
        to_begin = max(self._searched + begun_again - settled - len(running), 0) * average
        to_begin += max(self._replicates - begun_again, 0) * self._full
        left = sum(max(self._expected(record, average) - len(record.epochs), 1) for record in running)
        to_come = to_begin + left or (average if self.ended < self.trials else 0)
        seconds = self.elapsed_seconds / new * to_come
        return min(seconds, 3600 * self.account.hours_left) if self.account else seconds

    def _expected(self, record: Record, average: float) -> float:
        """Return how many epochs a trial is expected to have. A replicate is never stopped early."""
        return average if record.replicate_of is None else record.experiment["epochs"]

    @property
    def _full(self) -> int:
        """Epochs of a trial that is not stopped early."""
        return next((record.experiment["epochs"] for record in self._records.values()), 0)

    def summary(self) -> str:
        """Return one line on how far the study is.

        For example: `12/40 trials (9 COMPLETE, 3 PRUNED), 310 epochs, best val_iou 0.8123 (trial 7; no training:
        0.5102), about 3 min 20 s left`.
        """
        states = ", ".join(f"{count} {state}" for state, count in sorted(self.states.items()) if count)
        parts = [f"{self.ended}/{self.trials} trials" + (f" ({states})" if states else ""), f"{self.epochs} epochs"]
        if self.best:
            beside = "" if self.untrained is None else f"; no training: {self.untrained:.4f}"
            parts.append(f"best {score_text(self.best, self.objective)} (trial {self.best.trial}{beside})")
        if (left := self.remaining_seconds) is not None:
            parts.append(f"about {duration(left)} left" if self.ended < self.trials else "all trials done")
        if self.account and (spent := str(self.account)):
            parts.append(f"{spent} spent")
        return ", ".join(parts)


def score_text(record: Record, objective: Objective) -> str:
    """Return the best score as text, as in `val_iou 0.8123`, or `val_iou -` if no epoch has a score."""
    best = record.best
    return f"{objective.metric} " + (f"{best[objective.metric]:.4f}" if objective.scored(best) else f"{'-':6s}")
