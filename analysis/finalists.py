"""Finalists against each other, image by image, on the sealed test split: how sure is it which one is better?

python -m analysis.finalists STUDY [STUDY ...] [--score iou] [--pairs | --all-scores | --images] [--format md]
"""

import dataclasses
import sys
from collections.abc import Callable, Sequence

import pandas as pd

from analysis import finalists_text, load, table
from analysis.hard import hard_images, lacking
from analysis.sealed import NotComparable, default_score, finalists, place
from analysis.standings import Pair, Standing, every_score, pairs, standings
from study.arguments import ArgumentParser
from study.redact import complain

FORMATS: dict[str, Callable[[pd.DataFrame], str]] = {
    "md": lambda rows: table.to_markdown(rows.round(4)),
    "csv": table.to_csv,
    "json": table.to_json,
}


def parser() -> ArgumentParser:
    p = ArgumentParser(
        prog="python -m analysis.finalists", description="Which finalist is better, and how sure that is."
    )
    p.add_argument("studies", nargs="+", metavar="STUDY", help="<storage>/<name>, a folder or s3://...")
    p.add_argument("--score", help="as analysis.rosetta names it (default: the objective's, else iou)")
    p.add_argument("--pairs", action="store_true", help="with a format other than text: the pairs, not the standings")
    p.add_argument(
        "--all-scores", action="store_true", help="instead: every score of every finalist, with its interval"
    )
    p.add_argument("--images", action="store_true", help="instead: the test images, those first that are hard for all")
    p.add_argument("--format", choices=["text", *FORMATS], default="text", help="default: text")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    try:
        opened = [load.open_study(study) for study in given.studies]
        found = finalists(opened)
        if not found:
            raise NotComparable(f"{given.studies[0]}: no trial was scored on the sealed test split yet; let it finish")
        name = given.score or default_score(opened[0], found)
        tested = pairs(found, name)
        standing = standings(found, name, tested)
    except (load.StudyNotFound, NotComparable) as error:
        complain(error)
        return 2
    if given.all_scores:
        return table.write(FORMATS["md" if given.format == "text" else given.format](every_score(found)))
    if given.images:
        return table.write(FORMATS["md" if given.format == "text" else given.format](hard_images(found, name)))
    if given.format == "text":
        title = finalists_text.title(name, place(found), len(found[0].ids))
        rest = f"{lacking(found, name)} (--images lists them)"
        return table.write(finalists_text.to_text(title, name, standing, tested, rest))
    rows = [dataclasses.asdict(row) for row in (tested if given.pairs else standing)]
    columns = [field.name for field in dataclasses.fields(Pair if given.pairs else Standing)]
    return table.write(FORMATS[given.format](pd.DataFrame(rows, columns=columns)))


if __name__ == "__main__":
    sys.exit(main())
