"""Command lines that refuse in one line, as every other error of the commands does."""

import argparse
from typing import NoReturn

from study.redact import redact


class ArgumentParser(argparse.ArgumentParser):
    """argparse's own, less the usage of many lines before an error."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, redact(f"error: {message}; {self.prog} --help shows what may be given\n"))


def at_least_one(text: str) -> int:
    """A whole number of at least 1, as argparse's `type`."""
    number = int(text) if text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} given; must be a whole number of at least 1")
    return number
