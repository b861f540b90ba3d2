"""What a person sees while a study runs: one live panel on a terminal, plain lines where output is piped."""

import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from study.budget import Account
from study.leaders import ranked
from study.objective import Objective
from study.records import Record, State

if TYPE_CHECKING:  # it takes seg and with it torch, which study.ls can do without
    from study.proposal import Proposal

PLAIN_INTERVAL_SECONDS = 30.0
PANEL_LINES = 6
"""Of a terminal's height, those that are not for running trials."""


def duration(seconds: float) -> str:
    """`45 s`, `3 min 20 s`, `2 h 05 min`."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


class Tally:
    """The numbers behind the display, from records alone. Each change of a record changes them; none is a pass over
    all of them, of which there may be ten thousand."""

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
        """`trials`: of the search. `replicates`: beside them, at most. `untrained`: the objective of what no training
        gives, shown beside the best."""
        self._searched, self._replicates = trials, replicates
        self.lanes, self.objective, self.account = lanes, objective, account
        self.untrained = untrained
        self.states: Counter[str] = Counter()
        """Trials by state, paused ones as `paused`."""
        self.ended = self.epochs = 0
        self.best: Record | None = None
        self._records: dict[int, Record] = {}
        self._running: dict[int, Record] = {}
        self._again: set[int] = set()
        """Replicates that have begun."""
        self._counted: dict[int, tuple[str, bool, int]] = {}
        """What of each trial the numbers hold: its state, whether it has ended, its epochs."""
        for record in earlier:
            self.update(record)
        self._began = time.monotonic()
        self._epochs_before = self.epochs

    @property
    def trials(self) -> int:
        return self._searched + self._replicates

    def replicates(self, left: Iterable[int]) -> None:
        """The search has ended: beside the replicates that are there, these are to come."""
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
        went_back = len(record.epochs) < epochs
        self._compare(record, went_back)

    def _count(self, standing: str, ended: bool, epochs: int, sign: int) -> None:
        self.states[standing] += sign
        self.ended += sign * ended
        self.epochs += sign * epochs

    def _compare(self, record: Record, went_back: bool) -> None:
        """A trial that went back to its checkpoint may be the best no more."""
        among = list(self._records.values()) if went_back else [record, *([self.best] if self.best else [])]
        self.best = next(iter(ranked(among, self.objective, tuple(State))), None)

    @property
    def running(self) -> list[Record]:
        """By number. A copy: the display's thread reads while records come in."""
        return sorted(list(self._running.values()), key=lambda record: record.trial)

    @property
    def elapsed_seconds(self) -> float:
        return time.monotonic() - self._began

    @property
    def remaining_seconds(self) -> float | None:
        """At this session's pace of epochs, or until the budget ends; None before a trial has ended or is paused, of
        which few go on: as many epochs as these had on average, the others are taken to have."""
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
        """Epochs that it will have. Nothing stops a replicate early."""
        return average if record.replicate_of is None else record.experiment["epochs"]

    @property
    def _full(self) -> int:
        """Epochs of a trial that nothing stops."""
        return next((record.experiment["epochs"] for record in self._records.values()), 0)

    def summary(self) -> str:
        """`12/40 trials (9 COMPLETE, 3 PRUNED), 310 epochs, best val_iou 0.8123 (trial 7; no training: 0.5102), about
        3 min 20 s left`."""
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
    """`val_iou 0.8123`; `val_iou -` where no epoch has a score."""
    best = record.best
    return f"{objective.metric} " + (f"{best[objective.metric]:.4f}" if objective.scored(best) else f"{'-':6s}")


def choices_text(record: Record) -> str:
    """What a trial is, in a few words: `mobilenetv2_skip, dice_bce, encoder 2.1e-04, decoder 1.0e-03`."""
    e = record.experiment
    encoder = "frozen" if e["encoder_freeze"] else f"{e['encoder_lr']:.1e}"
    name = "" if record.source == "search" else f"{record.source}: "
    if record.replicate_of is not None:
        name = f"trial {record.replicate_of} with seed {e['seed']}: "
    return f"{name}{e['model']}, {e['loss']}, encoder {encoder}, decoder {e['decoder_lr']:.1e}, {e['augment']}"


class Progress:
    """A context: `change` at every change of a record, `say` for a line that stays."""

    def __init__(self, tally: Tally, console: Console | None = None):
        self.tally = tally
        self._console = console or Console(file=sys.stdout, soft_wrap=not sys.stdout.isatty(), highlight=False)
        self._live: Live | None = None
        if self._console.is_terminal:
            self._live = Live(get_renderable=self._panel, console=self._console, refresh_per_second=4)
        self._last_plain = time.monotonic()

    def __enter__(self) -> "Progress":
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def say(self, text: str) -> None:
        self._console.print(text, markup=False)

    def replicates(self, left: Sequence["Proposal"]) -> None:
        """The search has ended, and these follow."""
        self.tally.replicates(proposal.trial for proposal in left)
        if new := [proposal.replicate_of for proposal in left if not proposal.record]:
            again = ", ".join(map(str, dict.fromkeys(new)))
            self.say(f"the best are trained with other seeds: trials {again}")

    def change(self, record: Record) -> None:
        self.tally.update(record)
        if record.state.ended:
            self.say(self._ended_line(record))
        if not self._live and (record.state.ended or self._plain_is_due()):
            self._last_plain = time.monotonic()
            self.say(f"  {self.tally.summary()}")

    def _plain_is_due(self) -> bool:
        return time.monotonic() - self._last_plain > PLAIN_INTERVAL_SECONDS

    def _ended_line(self, record: Record) -> str:
        score = score_text(record, self.tally.objective)
        reason = f"  {record.reason}" if record.state in (State.FAILED, State.INFEASIBLE) else ""
        epochs = f"{len(record.epochs):3d}/{record.experiment['epochs']} epochs"
        return f"trial {record.trial:4d}  {record.state:10s} {epochs}  {score}  {choices_text(record)}{reason}"

    def _panel(self) -> Group:
        tally, running = self.tally, self.tally.running
        shown = running[: max(self._console.height - PANEL_LINES, 1)]
        # Each in a grid: a bar narrower than the terminal would not end its line.
        bar = Table.grid()
        bar.add_row(ProgressBar(total=tally.trials, completed=tally.ended, width=min(60, self._console.width)))
        table = Table(box=None, pad_edge=False, header_style="dim")
        for title in ("trial", "epoch", tally.objective.metric, "images/s"):
            table.add_column(title, no_wrap=True, min_width=len(title), justify="right")
        table.add_column("what")
        for record in shown:
            table.add_row(*self._running_row(record))
        if len(running) > len(shown):
            table.add_row("", "", "", "", f"and {len(running) - len(shown)} more")
        return Group(Text(tally.summary(), style="bold"), bar, table if running else Text(""))

    def _running_row(self, record: Record) -> tuple[str, ...]:
        best, objective = record.best, self.tally.objective
        score = f"{best[objective.metric]:.4f}" if objective.scored(best) else "-"
        speed = f"{record.epochs[-1]['images_per_second']:.0f}" if record.epochs else ""
        epoch = f"{len(record.epochs)}/{record.experiment['epochs']}"
        return str(record.trial), epoch, score, speed, choices_text(record)
