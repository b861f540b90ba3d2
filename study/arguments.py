"""Command lines that refuse in one line, as every other error of the commands does."""

import argparse
from typing import NoReturn


class ArgumentParser(argparse.ArgumentParser):
    """argparse's own, less the usage of many lines before an error."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; {self.prog} --help shows what may be given\n")
