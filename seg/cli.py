"""What all commands share: the parser, exit codes, one-line errors, and the removal of secrets from the output."""

import argparse
import sys
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from io import StringIO
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, TypeVar

from seg.errors import UserError, redact

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = [
    "BAD_INPUT",
    "FAILED",
    "INTERRUPTED",
    "OK",
    "STUDY_HELP",
    "ArgumentParser",
    "UserError",
    "aligned",
    "at_least_one",
    "byte_progress",
    "complain",
    "duration",
    "plural",
    "redact",
    "status_of",
    "track",
]

T = TypeVar("T")

WIDEST = 10_000
"""More characters than any line of a table has."""

OK, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
"""The exit codes of all commands."""

STUDY_HELP = "<storage>/<name>, a folder or s3://..."
"""The help text of every argument that names a study."""


def complain(error: object) -> None:
    """Print a user's mistake as one line on stderr, without secrets."""
    print(f"error: {redact(str(error))}", file=sys.stderr)


class ArgumentParser(argparse.ArgumentParser):
    """The argparse parser of the command `python -m <module>`.

    `--help` ends with `examples`, each a list of arguments as they are typed. An error is one line, without the usage
    before it. An option must be written in full, since an abbreviation would change its meaning with the next option.
    """

    def __init__(self, module: str, description: str, *examples: str):
        lines = [f"  python -m {module} {example}".rstrip() for example in examples]
        super().__init__(
            prog=f"python -m {module}",
            description=description,
            epilog="\n".join(["examples:", *lines]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, redact(f"error: {message}; {self.prog} --help shows what may be given\n"))


def track(items: Iterable[T], what: str, total: int | None = None, shown: bool = True) -> Iterator[T]:
    """Yield `items`, with a progress bar on stderr if that is a terminal and `shown` is true.

    `total` is needed if `items` has no length.
    """
    import rich.progress  # most commands need no bar
    from rich.console import Console

    console = Console(stderr=True)
    hidden = not (shown and sys.stderr.isatty())
    yield from rich.progress.track(items, what, total, console=console, transient=True, disable=hidden)


def byte_progress() -> "Progress":
    """Return a display of bytes for a download, on stderr if that is a terminal. Its tasks count bytes."""
    from rich import progress
    from rich.console import Console

    console = Console(stderr=True)
    columns = (progress.DownloadColumn(), progress.TransferSpeedColumn(), progress.TimeRemainingColumn())
    named = (progress.TextColumn("{task.description}"), progress.BarColumn())
    return progress.Progress(*named, *columns, console=console, transient=True, disable=not sys.stderr.isatty())


def aligned(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """Return rows of cells as lines, with columns two spaces apart. `right`: the columns that are aligned right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2, 0, 0))
    for place in range(len(rows[0])):
        grid.add_column(no_wrap=True, justify="right" if place in right else "left")
    for row in rows:
        grid.add_row(*map(Text, row))
    lines = Console(file=StringIO(), width=WIDEST).render_lines(grid, pad=False)
    return ["".join(part.text for part in line).rstrip() for line in lines]


def at_least_one(text: str) -> int:
    """Parse a whole number of at least 1, as argparse's `type`."""
    number = int(text) if text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} given; must be a whole number of at least 1")
    return number


def duration(seconds: float) -> str:
    """Return a duration as text: `45 s`, `3 min 20 s`, `2 h 05 min`."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def plural(count: float, noun: str) -> str:
    """Return a count with its noun: `1 lane`, `2 lanes`."""
    return f"{count:g} {noun}{'' if count == 1 else 's'}"


def status_of(action: Callable[[], int | None]) -> int:
    """Run `action` and return its exit code, or OK if it returns None.

    A UserError becomes one line on stderr and BAD_INPUT; Ctrl-C becomes INTERRUPTED. Any other exception is a fault of
    ours and passes; Python's traceback of it is printed without secrets.
    """
    sys.excepthook = _show_crash
    try:
        return action() or OK
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return INTERRUPTED
    except UserError as error:
        complain(error)
        return BAD_INPUT


def _show_crash(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    print(redact("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr)
