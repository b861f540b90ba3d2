"""Show published scores beside ours, measured as in the publication and measured properly.

python -m analysis.published STUDY... [--format text|md|csv|json]
"""

import json
import sys
from collections.abc import Callable, Sequence

import pandas as pd

from analysis import table
from analysis.published import rows
from analysis.published.rows import published
from seg.cli import STUDY_HELP, ArgumentParser, status_of


def to_json(rows: pd.DataFrame) -> str:
    return json.dumps(table.rows(rows), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def to_markdown(rows: pd.DataFrame) -> str:
    """Return a Markdown table for readers, without the columns that only programs need."""
    unneeded = ["kind", "trial", "column", "properly_column", "missing"]
    reasons = [": ".join(part for part in pair if part) for pair in zip(rows["missing"], rows["differs"], strict=True)]
    return table.to_markdown(rows.assign(differs=reasons).drop(columns=unneeded).round(4))


FORMATS: dict[str, Callable[[pd.DataFrame], str]] = {
    "text": rows.to_text,
    "md": to_markdown,
    "csv": table.to_csv,
    "json": to_json,
}


def parser() -> ArgumentParser:
    p = ArgumentParser("analysis.published", "Show published figures beside ours.", "studies/first")
    p.add_argument("studies", nargs="+", metavar="STUDY", help=STUDY_HELP)
    p.add_argument("--format", choices=list(FORMATS), default="text", help="of the output (default: %(default)s)")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    return status_of(lambda: table.write(FORMATS[given.format](published(given.studies))))


if __name__ == "__main__":
    sys.exit(main())
