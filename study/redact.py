"""No secret in what study and analysis print: the rule itself is seg's, which prints errors too."""

import sys

from seg.redact import redact

__all__ = ["complain", "redact"]


def complain(error: object) -> None:
    """The one line of a user's mistake, on stderr."""
    print(f"error: {redact(str(error))}", file=sys.stderr)
