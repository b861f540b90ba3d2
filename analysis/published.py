"""Published figures beside ours: as they were measured, and measured properly.

python -m analysis.published STUDY... [--format text|md|csv|json]
"""

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis import columns, compare, differences, load, published_text, table
from analysis.measured import measured, properly
from analysis.measures import label
from analysis.references import REFERENCES
from study.arguments import ArgumentParser
from study.records import Record
from study.redact import complain

PUBLISHED, REFERENCE = "published", "reference"


@dataclass(frozen=True)
class Row:
    """One published figure, and ours. What is not known is None."""

    study: str
    kind: str
    """`published`: of a configuration that the study ran again. `reference`: of others, beside the study's choice."""
    system: str
    configuration: str
    trial: int | None
    metric: str
    """As the publication measured it, in words; `column` is its name in `analysis.table`."""
    column: str
    published: float
    ours: float | None
    difference: float | None
    """Ours less published."""
    properly: float | None
    """Our score of the same thing, thresholded and at the masks' own size; None where `ours` is that already."""
    properly_column: str
    images: int | None
    """That ours was measured on."""
    missing: str
    """Why there is no `ours`; empty where there is."""
    differs: str
    """Why ours and theirs need not agree."""


COLUMNS = [field.name for field in dataclasses.fields(Row)]


def published(studies: Sequence[str | load.Study]) -> pd.DataFrame:
    """A row each figure: of every baseline that has published ones, then the references on the same data.

    StudyNotFound where one of the studies is none."""
    found = [row for study in studies for row in rows(load.open_study(study))]
    return columns.frame([dataclasses.asdict(row) for row in found], COLUMNS, {})


def rows(opened: load.Study) -> list[Row]:
    """See `published`; of one study."""
    return [*_baselines(opened), *_references(opened)]


def _baselines(opened: load.Study) -> Iterator[Row]:
    for baseline in opened.info["spec"].get("baselines", []):
        record = _trial_of(opened.records, baseline["name"])
        differs = list(differences.of_baseline(opened.info, baseline, record))
        for name, value in baseline.get("published", {}).items():
            column = name if name.startswith(("train_", "val_")) else f"test_{name}"
            about = (PUBLISHED, baseline.get("system", ""), baseline["name"])
            yield _row(opened, record, about, column, value, differs)


def _trial_of(records: Sequence[Record], source: str) -> Record | None:
    """The baseline's trial; of several, the first that was scored on the test split."""
    own = [record for record in records if record.source == source]
    return next((record for record in own if record.test), own[0] if own else None)


def _references(opened: load.Study) -> Iterator[Row]:
    chosen = (opened.info.get("verdict") or {}).get("trial")
    record = next((one for one in opened.records if one.trial == chosen and one.test), None)
    word = "best" if record is None else "study's choice"
    record = record or _best_finalist(opened)
    about = "best of the study"
    if record is not None:
        about = f"{word}, trial {record.trial}, {record.experiment['model']} with {record.experiment['loss']}"
    for reference in REFERENCES:
        if reference.dataset == opened.info["dataset"]["name"]:
            differs = list(differences.of_reference(opened.info, reference))
            yield _row(opened, record, (REFERENCE, reference.name, about), reference.column, reference.value, differs)


def _best_finalist(opened: load.Study) -> Record | None:
    """By the objective, on validation images: choosing by test scores would spend the test split."""
    trials = load.trials(opened)
    tested = [record.trial for record in opened.records if record.test]
    leader = compare.best(trials[trials["trial"].isin(tested)])
    return None if leader is None else next(r for r in opened.records if r.trial == leader["trial"])


def _row(
    opened: load.Study,
    record: Record | None,
    about: tuple[str, str, str],
    column: str,
    value: float,
    differs: list[str],
) -> Row:
    kind, system, configuration = about
    ours = measured(opened, record, column)
    better = properly(column)
    return Row(
        study=opened.info["name"],
        kind=kind,
        system=system,
        configuration=configuration,
        trial=None if record is None else record.trial,
        metric=label(column, opened.info["dataset"]["class_names"]),
        column=column,
        published=value,
        ours=ours,
        difference=None if ours is None else ours - value,
        properly=measured(opened, record, better) if better else None,
        properly_column=better,
        images=None if ours is None else opened.info["dataset"]["images"][column.split("_")[0]],
        missing=_missing(record, kind, column) if ours is None else "",
        differs="; ".join(differs),
    )


def _missing(record: Record | None, kind: str, column: str) -> str:
    if record is None:
        return "not run yet" if kind == PUBLISHED else "no trial is scored on the test split"
    if column.startswith("test_") and not record.test:
        return "not scored on the test split"
    return f"{column} is not in the record"


def to_json(rows: pd.DataFrame) -> str:
    return json.dumps(table.rows(rows), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def to_markdown(rows: pd.DataFrame) -> str:
    """Without what only programs need: to be pasted where people read it."""
    unneeded = ["kind", "trial", "column", "properly_column", "missing"]
    reasons = [": ".join(part for part in pair if part) for pair in zip(rows["missing"], rows["differs"], strict=True)]
    return table.to_markdown(rows.assign(differs=reasons).drop(columns=unneeded).round(4))


FORMATS: dict[str, Callable[[pd.DataFrame], str]] = {
    "text": published_text.to_text,
    "md": to_markdown,
    "csv": table.to_csv,
    "json": to_json,
}


def parser() -> ArgumentParser:
    p = ArgumentParser(prog="python -m analysis.published", description="Published figures beside ours.")
    p.add_argument("studies", nargs="+", metavar="STUDY", help="<storage>/<name>, a folder or s3://...")
    p.add_argument("--format", choices=list(FORMATS), default="text", help="default: text")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    try:
        found = published(given.studies)
    except load.StudyNotFound as error:
        complain(error)
        return 2
    return table.write(FORMATS[given.format](found))


if __name__ == "__main__":
    sys.exit(main())
