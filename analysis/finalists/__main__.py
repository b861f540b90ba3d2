"""Compare finalists image by image on the sealed test split: which is better, and how certain that is.

python -m analysis.finalists STUDY [STUDY ...] [--score iou] [--pairs | --all-scores | --images] [--format md]
"""

import argparse
import dataclasses
import sys
from collections.abc import Callable, Sequence

import pandas as pd

from analysis import load, table
from analysis.finalists.sealed import NotComparable, default_score, finalists, place
from analysis.finalists.standings import (
    Pair,
    Standing,
    every_score,
    hard_images,
    lacking,
    pairs,
    standings,
    title,
    to_text,
)
from seg.cli import STUDY_HELP, ArgumentParser, status_of

FORMATS: dict[str, Callable[[pd.DataFrame], str]] = {
    "md": lambda rows: table.to_markdown(rows.round(4)),
    "csv": table.to_csv,
    "json": table.to_json,
}


def parser() -> ArgumentParser:
    description = "Show which finalist is better on the sealed test images, and how sure that is."
    p = ArgumentParser("analysis.finalists", description, "studies/first studies/second", "studies/first --images")
    p.add_argument("studies", nargs="+", metavar="STUDY", help=STUDY_HELP)
    p.add_argument("--score", metavar="NAME", help="as analysis.rosetta names it (default: the objective's, else iou)")
    what = p.add_mutually_exclusive_group()
    what.add_argument("--pairs", action="store_true", help="the pairs of finalists; for formats other than text")
    what.add_argument("--all-scores", action="store_true", help="every score of every finalist, with its interval")
    what.add_argument("--images", action="store_true", help="the test images, those first that are hard for all")
    p.add_argument("--format", choices=["text", *FORMATS], default="text", help="of the output (default: %(default)s)")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    return status_of(lambda: _show(given))


def _show(given: argparse.Namespace) -> int:
    opened = [load.open_study(study) for study in given.studies]
    found = finalists(opened)
    if not found:
        raise NotComparable(f"{given.studies[0]}: no trial was scored on the sealed test split yet; let it finish")
    name = given.score or default_score(opened[0], found)
    tested = pairs(found, name)
    standing = standings(found, name, tested)
    if given.all_scores:
        return table.write(FORMATS["md" if given.format == "text" else given.format](every_score(found)))
    if given.images:
        return table.write(FORMATS["md" if given.format == "text" else given.format](hard_images(found, name)))
    if given.format == "text":
        heading = title(name, place(found), len(found[0].ids))
        rest = f"{lacking(found, name)} (--images lists them)"
        return table.write(to_text(heading, name, standing, tested, rest))
    rows = [dataclasses.asdict(row) for row in (tested if given.pairs else standing)]
    columns = [field.name for field in dataclasses.fields(Pair if given.pairs else Standing)]
    return table.write(FORMATS[given.format](pd.DataFrame(rows, columns=columns)))


if __name__ == "__main__":
    sys.exit(main())
