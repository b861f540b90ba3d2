"""What a person sees while a study runs: one live panel on a terminal, plain lines where output is piped."""

import sys
import time
from collections import Counter
from collections.abc import Iterable
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from study.leaders import ranked
from study.objective import Objective
from study.records import Record, State

PLAIN_INTERVAL_SECONDS = 30.0


def duration(seconds: float) -> str:
    """`45 s`, `3 min 20 s`, `2 h 05 min`."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


class Tally:
    """The numbers behind the display, from records alone."""

    def __init__(self, trials: int, lanes: int, objective: Objective, earlier: Iterable[Record] = ()):
        self.trials, self.lanes, self.objective = trials, lanes, objective
        self._records = {record.trial: record for record in earlier}
        self._began = time.monotonic()
        self._ended_before = self.ended

    def update(self, record: Record) -> None:
        self._records[record.trial] = record

    @property
    def records(self) -> list[Record]:
        """A copy: the display's thread reads while records come in."""
        return list(self._records.values())

    @property
    def states(self) -> Counter[State]:
        return Counter(record.state for record in self.records)

    @property
    def running(self) -> list[Record]:
        return [r for r in self.records if r.state is State.RUNNING]

    @property
    def ended(self) -> int:
        return sum(record.state.ended for record in self.records)

    @property
    def epochs(self) -> int:
        return sum(len(record.epochs) for record in self.records)

    @property
    def best(self) -> Record | None:
        order = ranked(self.records, self.objective, tuple(State))
        return order[0] if order else None

    @property
    def elapsed_seconds(self) -> float:
        return time.monotonic() - self._began

    @property
    def remaining_seconds(self) -> float | None:
        """At the pace of this session; None before a trial has ended."""
        ended_now = self.ended - self._ended_before
        return self.elapsed_seconds / ended_now * (self.trials - self.ended) if ended_now else None

    def summary(self) -> str:
        """`12/40 trials (9 COMPLETE, 3 PRUNED), 310 epochs, best val_iou 0.8123 (trial 7), 3 min 20 s left`."""
        states = ", ".join(f"{count} {state}" for state, count in sorted(self.states.items()))
        parts = [f"{self.ended}/{self.trials} trials" + (f" ({states})" if states else ""), f"{self.epochs} epochs"]
        if self.best:
            parts.append(f"best {score_text(self.best, self.objective)} (trial {self.best.trial})")
        if (left := self.remaining_seconds) is not None:
            parts.append(f"about {duration(left)} left" if left else "all trials done")
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
        # Each in a grid: a bar narrower than the terminal would not end its line.
        bar = Table.grid()
        bar.add_row(ProgressBar(total=tally.trials, completed=tally.ended, width=min(60, self._console.width)))
        table = Table(box=None, pad_edge=False, header_style="dim")
        for title in ("trial", "epoch", tally.objective.metric, "images/s"):
            table.add_column(title, no_wrap=True, min_width=len(title), justify="right")
        table.add_column("what")
        for record in running:
            table.add_row(*self._running_row(record))
        return Group(Text(tally.summary(), style="bold"), bar, table if running else Text(""))

    def _running_row(self, record: Record) -> tuple[str, ...]:
        best, objective = record.best, self.tally.objective
        score = f"{best[objective.metric]:.4f}" if objective.scored(best) else "-"
        speed = f"{record.epochs[-1]['images_per_second']:.0f}" if record.epochs else ""
        epoch = f"{len(record.epochs)}/{record.experiment['epochs']}"
        return str(record.trial), epoch, score, speed, choices_text(record)
