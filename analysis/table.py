"""The trials of a study as a table.

python -m analysis.table STUDY [--format csv|json|md] [--epochs]
"""

import argparse
import sys
from collections.abc import Callable, Sequence

import pandas as pd

from analysis.load import StudyNotFound, epochs, trials


def to_csv(table: pd.DataFrame) -> str:
    return table.to_csv(index=False)


def to_json(table: pd.DataFrame) -> str:
    """A list of objects; what is missing is null."""
    return table.to_json(orient="records", indent=1, double_precision=15) + "\n"


def to_markdown(table: pd.DataFrame) -> str:
    lines = ["| " + " | ".join(table.columns) + " |", "|" + "---|" * len(table.columns)]
    for row in table.itertuples(index=False):
        lines.append("| " + " | ".join(_cell(value) for value in row) + " |")
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    if value is None or value is pd.NA or value != value:
        return ""
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")


FORMATS: dict[str, Callable[[pd.DataFrame], str]] = {"csv": to_csv, "json": to_json, "md": to_markdown}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m analysis.table", description="The trials of a study as a table.")
    parser.add_argument("study", metavar="STUDY", help="<storage>/<name>, a folder or s3://...")
    parser.add_argument("--format", choices=FORMATS, default="csv")
    parser.add_argument("--epochs", action="store_true", help="one row a trial and epoch")
    given = parser.parse_args(arguments)
    try:
        table = epochs(given.study) if given.epochs else trials(given.study)
    except StudyNotFound as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    sys.stdout.write(FORMATS[given.format](table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
