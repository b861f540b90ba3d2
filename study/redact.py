"""No secret in what study and analysis print: the rule itself is seg's, which prints errors too."""

import sys
import traceback
from types import TracebackType

from seg.redact import redact, secrets

__all__ = ["complain", "redact", "redact_crashes", "secrets"]


def complain(error: object) -> None:
    """The one line of a user's mistake, on stderr."""
    print(f"error: {redact(str(error))}", file=sys.stderr)


def redact_crashes() -> None:
    """From now on, what Python prints of an exception that nobody caught is without secrets too."""

    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        print(redact("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr)

    sys.excepthook = show
