"""One prediction, every score: what each published system would have reported of a trial, without another inference.

python -m analysis.rosetta STUDY [--trial N] [--format text|md|csv|json]
"""

import sys
from collections.abc import Callable, Sequence

import pandas as pd

from analysis import compare, load, rosetta_text, table
from analysis.definitions import definitions
from analysis.ratios import sums
from study.arguments import ArgumentParser
from study.redact import complain

COLUMNS = ["name", "value", "definition", "used_by"]
SIZES = {"train": "test", "native": "test_native"}
"""The column of `side_by_side` by the size that test images were counted at."""


def scores(counts: pd.DataFrame) -> pd.DataFrame:
    """One row a score: COLUMNS. `counts` as of `analysis.load.counts`, of one split and one size.

    ValueError where an image stands there at several sizes; see `by_size`."""
    found = sums(counts)
    rows = [(d.name, d.score.of(found), d.text, d.used_by) for d in definitions(found)]
    return pd.DataFrame(rows, columns=COLUMNS)


def by_size(counts: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """`scores` by the size at which masks were compared: `train` pixels, and `native` ones where those were counted."""
    if "size" not in counts:
        return {"train": scores(counts)}
    return {str(size): scores(rows) for size, rows in counts.groupby("size", sort=False)}


def side_by_side(study: str | load.Study, trial: int) -> pd.DataFrame:
    """One row a score: name, its value on each split that has counts (val; test, test_native of finalists), definition,
    used_by. No row where the trial kept no counts."""
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
    "text": rosetta_text.to_text,
    "md": lambda rows: table.to_markdown(rows.round(4)),
    "csv": table.to_csv,
    "json": table.to_json,
}


def parser() -> ArgumentParser:
    p = ArgumentParser(prog="python -m analysis.rosetta", description="Every score of one trial, by each definition.")
    p.add_argument("study", metavar="STUDY", help="<storage>/<name>, a folder or s3://...")
    p.add_argument("--trial", type=int, metavar="N", help="default: the best one")
    p.add_argument("--format", choices=list(FORMATS), default="text", help="default: text")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    try:
        opened = load.open_study(given.study)
        trial = _leader(opened) if given.trial is None else given.trial
        found = side_by_side(opened, trial)
    except load.StudyNotFound as error:
        return _refuse(str(error))
    if found.empty:
        return _refuse(f"{given.study}: trial {trial} kept no counts; give --trial one that COMPLETEd")
    return table.write(FORMATS[given.format](found))


def _leader(opened: load.Study) -> int:
    """StudyNotFound where no trial has finished."""
    leader = compare.best(load.trials(opened))
    if leader is None:
        raise load.StudyNotFound(f"{opened.address}: no trial has finished yet; wait for one")
    return int(leader["trial"])


def _refuse(message: str) -> int:
    complain(message)
    return 2


if __name__ == "__main__":
    sys.exit(main())
