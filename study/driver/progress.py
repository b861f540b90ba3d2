"""The display of a running study: a live panel on a terminal, plain lines if output is piped."""

import os
import pdb
import signal
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from study.store.records import Record, State
from study.trials.tally import Tally, score_text

if TYPE_CHECKING:
    from study.search.searcher import Proposal


PLAIN_INTERVAL_SECONDS = 30.0
PANEL_LINES = 6
"""The lines of a terminal that are not for running trials."""


def choices_text(record: Record) -> str:
    """Describe a trial in a few words: `mobilenetv2_skip, dice_bce, encoder 2.1e-04, decoder 1.0e-03, flips`."""
    e = record.experiment
    encoder = "frozen" if e["encoder_freeze"] else f"{e['encoder_lr']:.1e}"
    name = "" if record.source == "search" else f"{record.source}: "
    if record.replicate_of is not None:
        name = f"trial {record.replicate_of} with seed {e['seed']}: "
    return f"{name}{e['model']}, {e['loss']}, encoder {encoder}, decoder {e['decoder_lr']:.1e}, {e['augment']}"


class Progress:
    """A context manager. Call `change` at every change of a record, and `say` for a line that stays."""

    def __init__(self, tally: Tally, console: Console | None = None):
        self.tally = tally
        self._console = console or Console(file=sys.stdout, soft_wrap=not sys.stdout.isatty(), highlight=False)
        self._live: Live | None = None
        self._hook = sys.breakpointhook
        if self._console.is_terminal:
            self._live = Live(get_renderable=self._panel, console=self._console, refresh_per_second=4)
        self._last_plain = time.monotonic()

    def __enter__(self) -> "Progress":
        if self._live:
            self._live.start()
            self._hook, sys.breakpointhook = sys.breakpointhook, self._debug
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._take_panel_away()

    def _take_panel_away(self) -> None:
        if self._live:
            self._live.stop()
            self._live = None
            sys.breakpointhook = self._hook

    def _debug(self, *given: Any, **named: Any) -> Any:
        """Take the panel away when code that trains calls `breakpoint()`: its prompt would not be seen beside it."""
        self._take_panel_away()
        if self._hook is not sys.__breakpointhook__ or "PYTHONBREAKPOINT" in os.environ:
            return self._hook(*given, **named)
        # At the prompt, Ctrl-C only interrupts what was typed; after it, Ctrl-C ends the study.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        return pdb.Pdb(nosigint=True).set_trace(sys._getframe(1))

    def say(self, text: str) -> None:
        self._console.print(text, markup=False)

    def replicates(self, left: Sequence["Proposal"]) -> None:
        """Note that the search has ended and that the replicates in `left` follow."""
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
        # In a grid, because a bar narrower than the terminal would not end its line.
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
