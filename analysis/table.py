"""A study's trials as a table.

python -m analysis.table STUDY [--format csv|json|md|parquet] [--epochs | --compare]
"""

import argparse
import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from analysis import columns, load
from analysis.hyperparameters import comparison
from seg.cli import STUDY_HELP, ArgumentParser, UserError, status_of


def to_csv(table: pd.DataFrame) -> str:
    """Return RFC 4180 CSV with a header; a missing value is an empty field."""
    return table.to_csv(index=False, lineterminator="\n")


def to_json(table: pd.DataFrame) -> str:
    """Return strict JSON: a list of one object for each row; a missing value is null."""
    return json.dumps(rows(table), indent=1, allow_nan=False) + "\n"


def to_markdown(table: pd.DataFrame) -> str:
    """Return a GitHub table; a missing value is an empty cell."""
    numeric = [pd.api.types.is_numeric_dtype(dtype) for dtype in table.dtypes]
    lines = [list(table.columns), ["---:" if right else "---" for right in numeric]]
    lines += [[_cell(value) for value in row.values()] for row in rows(table)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def to_parquet(table: pd.DataFrame) -> bytes:
    """Return the content of a Parquet file: `... --format parquet > trials.parquet`."""
    buffer = io.BytesIO()
    bare = table.copy(deep=False)
    bare.attrs = {}  # pandas would put all of study.json into the file
    bare.to_parquet(buffer, index=False)
    return buffer.getvalue()


FORMATS: dict[str, Callable[[pd.DataFrame], str | bytes]] = {
    "csv": to_csv,
    "json": to_json,
    "md": to_markdown,
    "parquet": to_parquet,
}


def rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return each row as plain Python values by column; a missing value is None."""
    return [
        {str(name): None if pd.isna(value) else value for name, value in row.items()}
        for row in table.astype(object).to_dict("records")
    ]


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return " ".join(text.replace("|", "\\|").split())


def parser() -> ArgumentParser:
    description = "Write a study's trials as a table, one row each."
    p = ArgumentParser("analysis.table", description, "studies/first > trials.csv", "studies/first --format md")
    p.add_argument("study", metavar="STUDY", help=STUDY_HELP)
    p.add_argument("--format", choices=list(FORMATS), default="csv", help="of the output (default: %(default)s)")
    rows = p.add_mutually_exclusive_group()
    rows.add_argument("--epochs", action="store_true", help="one row a trial and epoch")
    rows.add_argument("--compare", action="store_true", help="one row a value of what the study compares")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    return status_of(lambda: _show(given))


def _show(given: argparse.Namespace) -> int:
    if given.format == "parquet" and sys.stdout.isatty():
        raise UserError("--format parquet: is not for a terminal; write it to a file: > trials.parquet")
    return write(FORMATS[given.format](_table(given)))


def _table(given: argparse.Namespace) -> pd.DataFrame:
    if given.epochs:
        return load.epochs(given.study)[list(columns.EPOCH)]
    trials = load.trials(given.study)
    return comparison.table(trials) if given.compare else trials


def write(content: str | bytes) -> int:
    try:
        if isinstance(content, bytes):
            sys.stdout.buffer.write(content)
        else:
            sys.stdout.write(content)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has read enough; without this, Python would complain again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())
