"""The table of published scores beside our own, one row per published score."""

import dataclasses
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis import columns, load, ranking, rosetta
from analysis.published import references
from analysis.published.references import REFERENCES
from analysis.scores.labels import label
from seg.cli import aligned
from study.store.records import Record

THRESHOLDED = {"soft_iou": "iou", "soft_dice": "dice"}
"""Scores measured on probabilities, with their counterparts measured on masks."""

PUBLISHED, REFERENCE = "published", "reference"
TITLES = ("", "published", "ours", "difference", "properly", "images")
WIDTH = 100
"""Characters per line if the output is not a terminal."""
PROPERLY = "on masks, not probabilities, at their own size"


def measured(opened: load.Study, record: Record | None, column: str) -> float | None:
    """Return a trial's score by its column, from its record or else from its counts.

    Scores that begin with `train_` or `val_` are those of its best epoch. None if the trial has no such score.
    """
    if record is None:
        return None
    if not column.startswith("test_"):
        return record.best.get(column)
    if record.test is None:
        return None
    name = column.removeprefix("test_")
    return record.test[name] if name in record.test else _from_counts(opened, record.trial, name)


def _from_counts(opened: load.Study, trial: int, name: str) -> float | None:
    counts = load.counts(opened, trial, "test")
    if counts is None:
        return None
    score = name.removeprefix("native_")
    found = rosetta.by_size(counts)["train" if name == score else "native"]
    values = found.set_index("name")["value"]
    return float(values[score]) if score in values else None


def native_column(column: str) -> str:
    """Return the column of the same test score, measured on masks at their own size.

    There, IoU and Dice are means over the images for two classes, and come from one pooled confusion matrix for more.
    Empty if `column` belongs to another split or is such a column already.
    """
    if not column.startswith("test_") or column.startswith("test_native_"):
        return ""
    name = column.removeprefix("test_")
    return f"test_native_{THRESHOLDED.get(name, name)}"


@dataclass(frozen=True)
class Row:
    """A published score and ours. Unknown values are None."""

    study: str
    kind: str
    """`published`: a configuration that the study ran again. `reference`: others' result beside the study's choice."""
    system: str
    configuration: str
    trial: int | None
    metric: str
    """The score in words, as the publication measured it. `column` is its name in `analysis.table`."""
    column: str
    published: float
    ours: float | None
    difference: float | None
    """Our score minus the published one."""
    properly: float | None
    """Our score on thresholded masks at their own size; None if `ours` is that already."""
    properly_column: str
    images: int | None
    """The number of images that our score was measured on."""
    missing: str
    """Why `ours` is missing; empty if it is there."""
    differs: str
    """Why our score and the published one may differ."""


COLUMNS = [field.name for field in dataclasses.fields(Row)]


def published(studies: Sequence[str | load.Study]) -> pd.DataFrame:
    """Return one row per published score: of each study's baselines, then of the references on its data.

    Raises UserError if a study is missing or damaged.
    """
    found = [row for study in studies for row in rows(load.open_study(study))]
    return columns.frame([dataclasses.asdict(row) for row in found], COLUMNS, {})


def rows(opened: load.Study) -> list[Row]:
    """Return the rows of one study, as in `published`."""
    return [*_baselines(opened), *_references(opened)]


def _baselines(opened: load.Study) -> Iterator[Row]:
    for baseline in opened.info["spec"].get("baselines", []):
        record = _trial_of(opened.records, baseline["name"])
        differs = list(references.of_baseline(opened.info, baseline, record))
        for name, value in baseline.get("published", {}).items():
            column = name if name.startswith(("train_", "val_")) else f"test_{name}"
            about = (PUBLISHED, baseline.get("system", ""), baseline["name"])
            yield _row(opened, record, about, column, value, differs)


def _trial_of(records: Sequence[Record], source: str) -> Record | None:
    """Return the baseline's trial. If there are several, prefer the first that was scored on the test split."""
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
            differs = list(references.of_reference(opened.info, reference))
            yield _row(opened, record, (REFERENCE, reference.name, about), reference.column, reference.value, differs)


def _best_finalist(opened: load.Study) -> Record | None:
    """Return the best finalist by the objective on validation images.

    Choosing by test scores would use up the test split.
    """
    trials = load.trials(opened)
    tested = [record.trial for record in opened.records if record.test]
    leader = ranking.best(trials[trials["trial"].isin(tested)])
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
    better = native_column(column)
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


@dataclass(frozen=True)
class Block:
    title: str
    study: str
    lines: list[tuple[str, ...]]
    """Cells in the order of TITLES."""
    missing: list[str]
    """Why our scores are missing."""
    differs: list[str]


def blocks(rows: pd.DataFrame) -> list[Block]:
    """Return one block per published configuration, and one for all references of a study.

    `rows` is the table that `analysis.published` returns.
    """
    return [_block(block) for _, block in rows.groupby(["study", "kind", "configuration"], sort=False)]


def _block(rows: pd.DataFrame) -> Block:
    first = rows.iloc[0]
    lines = [_line(row) for _, row in rows.iterrows()]
    return Block(_title(first), first["study"], lines, _distinct(rows["missing"]), _distinct(rows["differs"]))


def _distinct(reasons: pd.Series) -> list[str]:
    return [reason for reason in dict.fromkeys(reasons) if reason]


def _title(row: pd.Series) -> str:
    if row["kind"] == "reference":
        return f"References, beside the {row['configuration']}"
    named = not row["system"] or row["configuration"].startswith(row["system"])
    return row["configuration"] if named else f"{row['system']}: {row['configuration']}"


def _line(row: pd.Series) -> tuple[str, ...]:
    about = f"{row['system']}: " if row["kind"] == "reference" else ""
    ours = (_number(row["ours"]), _number(row["difference"], "+"), _number(row["properly"]))
    return (about + row["metric"], f"{row['published']:g}", *ours, "" if pd.isna(row["images"]) else str(row["images"]))


def _number(value: float, sign: str = "") -> str:
    """Return the value with four decimals, or an empty text if it is missing."""
    return "" if pd.isna(value) else f"{value:{sign}.4f}"


def to_text(rows: pd.DataFrame) -> str:
    if rows.empty:
        return "no published figures: these studies hold no published configuration, nor data with a reference\n"
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH
    return "\n".join("\n".join(_text(block, width)) + "\n" for block in blocks(rows))


def _text(block: Block, width: int) -> Iterator[str]:
    yield from textwrap.wrap(f"{block.title} (study {block.study})", width, subsequent_indent="  ")
    yield from (f"  {line}" for line in aligned([TITLES, *block.lines], right=range(1, len(TITLES))))
    reasons = [f"blank: {reason}" for reason in block.missing] + [f"differs: {reason}" for reason in block.differs]
    for reason in reasons:
        yield from textwrap.wrap(reason, width, initial_indent="  ", subsequent_indent="    ")
    if any(line[TITLES.index("properly")] for line in block.lines):
        yield f"  properly: {PROPERLY}"
