"""Every score of one prediction: what each published system would have reported, without new inference.

python -m analysis.rosetta STUDY [--trial N] [--format text|md|csv|json]
"""

import argparse
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence

import pandas as pd

from analysis import load, ranking, table
from analysis.scores.definitions import definitions
from analysis.scores.ratios import sums
from seg.cli import STUDY_HELP, ArgumentParser, UserError, aligned, status_of

WIDTH = 100
"""The characters in a line if the output is not a terminal."""


def to_text(rows: pd.DataFrame) -> str:
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH
    return "\n".join([*_numbers(rows), "", *_definitions(rows, width)]) + "\n"


def _numbers(rows: pd.DataFrame) -> list[str]:
    scores = [name for name in rows if name not in ("name", "definition", "used_by")]
    lines = [["", *map(str, scores), "used by"]]
    for row in rows.to_dict("records"):
        cells = ["" if pd.isna(row[name]) else f"{row[name]:.4f}" for name in scores]
        lines.append([row["name"], *cells, row["used_by"]])
    return aligned(lines, right=range(1, len(scores) + 1))


def _definitions(rows: pd.DataFrame, width: int) -> Iterator[str]:
    for _, row in rows.iterrows():
        yield from textwrap.wrap(f"{row['name']}: {row['definition']}", width, subsequent_indent="  ")


COLUMNS = ["name", "value", "definition", "used_by"]
SIZES = {"train": "test", "native": "test_native"}
"""The column of `side_by_side` for each size that test images were counted at."""


def scores(counts: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each score: COLUMNS.

    `counts` as `analysis.load.counts` returns them, for one split and one size. Raises ValueError if an image is there
    at several sizes; see `by_size`.
    """
    found = sums(counts)
    rows = [(d.name, d.score.of(found), d.text, d.used_by) for d in definitions(found)]
    return pd.DataFrame(rows, columns=COLUMNS)


def by_size(counts: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return `scores` by the size at which masks were compared.

    The sizes are `train`, and `native` if the masks were counted at it.
    """
    if "size" not in counts:
        return {"train": scores(counts)}
    return {str(size): scores(rows) for size, rows in counts.groupby("size", sort=False)}


def side_by_side(study: str | load.Study, trial: int) -> pd.DataFrame:
    """Return one row for each score: its name, its value on each split, definition, used_by.

    The splits are those with counts: val, and test and test_native for finalists. The table is empty if the trial kept
    no counts.
    """
    tables: dict[str, pd.DataFrame] = {}
    for split in ("val", "test"):
        counts = load.counts(study, trial, split)
        if counts is not None:
            named = by_size(counts)
            tables |= {split if split == "val" else SIZES[size]: found for size, found in named.items()}
    if not tables:
        return pd.DataFrame(columns=COLUMNS)
    about = pd.concat(tables.values()).drop_duplicates("name")[["name", "definition", "used_by"]].set_index("name")
    values = {column: found.set_index("name")["value"].reindex(about.index) for column, found in tables.items()}
    return pd.DataFrame(values).join(about).reset_index()


FORMATS: dict[str, Callable[[pd.DataFrame], str]] = {
    "text": to_text,
    "md": lambda rows: table.to_markdown(rows.round(4)),
    "csv": table.to_csv,
    "json": table.to_json,
}


def parser() -> ArgumentParser:
    description = "Show every score of one trial, by each definition."
    p = ArgumentParser("analysis.rosetta", description, "studies/first", "studies/first --trial 3 --format md")
    p.add_argument("study", metavar="STUDY", help=STUDY_HELP)
    p.add_argument("--trial", type=int, metavar="N", help="its number (default: the best trial's)")
    p.add_argument("--format", choices=list(FORMATS), default="text", help="of the output (default: %(default)s)")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    return status_of(lambda: _show(given))


def _show(given: argparse.Namespace) -> int:
    opened = load.open_study(given.study)
    trial = _leader(opened) if given.trial is None else given.trial
    found = side_by_side(opened, trial)
    if found.empty:
        raise UserError(f"{given.study}: trial {trial} kept no counts; give --trial one that COMPLETEd")
    return table.write(FORMATS[given.format](found))


def _leader(opened: load.Study) -> int:
    """Return the best trial. Raises UserError if no trial has finished."""
    leader = ranking.best(load.trials(opened))
    if leader is None:
        raise UserError(f"{opened.address}: no trial has finished yet; wait for one")
    return int(leader["trial"])


if __name__ == "__main__":
    sys.exit(main())
