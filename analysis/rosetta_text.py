"""The scores of `analysis.rosetta` for a terminal: the numbers in a table, then what each is."""

import shutil
import sys
import textwrap
from collections.abc import Iterator

import pandas as pd

WIDTH = 100
"""Characters in a line where there is no terminal."""


def to_text(rows: pd.DataFrame) -> str:
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH
    return "\n".join([*_numbers(rows), "", *_definitions(rows, width)]) + "\n"


def _numbers(rows: pd.DataFrame) -> Iterator[str]:
    columns = [name for name in rows if name not in ("name", "definition", "used_by")]
    first = max(len(name) for name in rows["name"])
    yield "  ".join(["".ljust(first), *(str(name).rjust(11) for name in columns), "used by"])
    for row in rows.to_dict("records"):
        cells = [("" if pd.isna(row[name]) else f"{row[name]:.4f}").rjust(11) for name in columns]
        yield "  ".join([row["name"].ljust(first), *cells, row["used_by"]]).rstrip()


def _definitions(rows: pd.DataFrame, width: int) -> Iterator[str]:
    for _, row in rows.iterrows():
        yield from textwrap.wrap(f"{row['name']}: {row['definition']}", width, subsequent_indent="  ")
