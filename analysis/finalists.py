"""Finalists against each other, image by image, on the sealed test split: how sure is it which one is better?

python -m analysis.finalists STUDY [STUDY ...] [--score iou] [--format text|md|csv|json]
"""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import pandas as pd

from analysis import finalists_text, load, table
from analysis.definitions import definitions
from analysis.ratios import Sums, sums
from analysis.score import Additive, Mean
from analysis.uncertainty import ALPHA, difference, holm, interval, letters
from study.arguments import ArgumentParser
from study.records import Record
from study.redact import complain

SCORE = "iou"
NOT_KNOWN = float("nan")


class NotComparable(ValueError):
    """Finalists cannot be held against each other. The message is one line: which, why, what to do."""


@dataclass(frozen=True)
class Finalist:
    """A trial whose counts on the sealed test split are kept."""

    study: str
    trial: int
    source: str
    image_size: int
    """At which it trained, in pixels."""
    ids: tuple[str, ...]
    """Of the test images."""
    test: dict[str, Sums]
    """By size at which masks were compared."""
    val: Sums | None

    @property
    def classes(self) -> int:
        return next(iter(self.test.values())).hard.shape[1]


def finalists(studies: Sequence[str | load.Study]) -> list[Finalist]:
    """Of all studies together. StudyNotFound where one is none, NotComparable where their test images differ."""
    opened = [load.open_study(study) for study in studies]
    names = _names(opened)
    found = [
        one
        for study, name in zip(opened, names, strict=True)
        for r in study.records
        if (one := _finalist(study, name, r))
    ]
    for one in found:
        if one.ids != found[0].ids:
            raise NotComparable(
                f"{one.study}: its {len(one.ids)} test images are not the {len(found[0].ids)} of {found[0].study}; "
                "compare studies of one dataset, with the same images"
            )
        if one.classes != found[0].classes:
            raise NotComparable(
                f"{one.study}: has {one.classes} classes, {found[0].study} {found[0].classes}; "
                "compare studies of one dataset, with the same masks"
            )
    _check_sizes(found)
    return found


def _names(opened: Sequence[load.Study]) -> list[str]:
    """Each study's own, or its address where another one is called the same."""
    names = [str(study.info["name"]) for study in opened]
    told = [name if names.count(name) == 1 else study.address for name, study in zip(names, opened, strict=True)]
    if twice := {name for name in told if told.count(name) > 1}:
        raise NotComparable(f"{twice.pop()}: is given twice; give each study once")
    return told


def _check_sizes(found: Sequence[Finalist]) -> None:
    for one in found:
        if place(found) == "train" and one.image_size != found[0].image_size:
            raise NotComparable(
                f"{one.study}: was counted at {one.image_size} px, {found[0].study} at {found[0].image_size}, and not "
                "all at the masks' own size; compare studies of one image size"
            )


def _finalist(opened: load.Study, name: str, record: Record) -> Finalist | None:
    counts = None if record.test is None else load.counts(opened, record.trial, "test")
    if counts is None or counts.empty:
        return None
    parts = {str(size): rows for size, rows in counts.groupby("size")} if "size" in counts else {"train": counts}
    validated = load.counts(opened, record.trial, "val")
    return Finalist(
        study=name,
        trial=record.trial,
        source=record.source,
        image_size=int(record.experiment["image_size"]),
        ids=tuple(sorted(counts["id"].unique())),
        test={size: sums(rows) for size, rows in parts.items()},
        val=None if validated is None else sums(validated),
    )


def place(found: Sequence[Finalist]) -> str:
    """The size at which they compare: the masks' own where every one was counted there."""
    return "native" if all("native" in one.test for one in found) else "train"


def score_of(found: Sequence[Finalist], name: str) -> Additive:
    """The score `name` of their task. NotComparable where it has none, or none that has an interval."""
    known = {d.name: d.score for d in definitions(found[0].test[place(found)]) if isinstance(d.score, Additive)}
    if name not in known:
        raise NotComparable(f"--score {name}: is not known; choose from {', '.join(known)}")
    return known[name]


def image_scores(found: Sequence[Finalist], name: str = SCORE) -> pd.DataFrame:
    """A row an image and finalist, best finalist first: `finalist` (as people read it), `trial`, `id`, `iou` (of a task
    with more classes the mean over those in the image's truth or prediction)."""
    size, parts = place(found), []
    several = len({one.study for one in found}) > 1
    for one in _ranked(found, name):
        scores = {d.name: d.score for d in definitions(one.test[size])}
        by_image = scores.get("iou_image", scores["iou"])
        assert isinstance(by_image, Mean)
        called = f"{one.study}, trial {one.trial}" if several else f"trial {one.trial}"
        values = by_image.ratio(one.test[size])
        parts.append(pd.DataFrame({"finalist": called, "trial": one.trial, "id": one.ids, "iou": values}))
    return pd.concat(parts, ignore_index=True)


@dataclass(frozen=True)
class Pair:
    """Two finalists, the better one first."""

    study: str
    trial: int
    other_study: str
    other_trial: int
    difference: float
    low: float
    high: float
    """Of the 95 % interval."""
    p: float
    """Of a paired permutation test."""
    p_adjusted: float
    """By Holm's method, for as many pairs as there are."""

    @property
    def told_apart(self) -> bool:
        return self.p_adjusted < ALPHA


@dataclass(frozen=True)
class Standing:
    """A finalist among the others."""

    study: str
    trial: int
    source: str
    score: float
    """On the test split."""
    low: float
    high: float
    """Of the 95 % interval."""
    ties: str
    """It has a letter in common with those that it is not told apart from."""
    drop: float
    """How much less it is than on the validation images, both at training size: the search chose by those."""
    drop_low: float
    drop_high: float


def pairs(found: Sequence[Finalist], name: str = SCORE) -> list[Pair]:
    """Every two of them, by the score `name`. NotComparable where there is none of that name."""
    size, score, ranked = place(found), score_of(found, name), _ranked(found, name)
    couples = list(combinations(ranked, 2))
    apart = [difference(one.test[size], other.test[size], score) for one, other in couples]
    return [
        Pair(one.study, one.trial, other.study, other.trial, by.value, by.low, by.high, by.p, adjusted)
        for (one, other), by, adjusted in zip(couples, apart, holm([by.p for by in apart]), strict=True)
    ]


def standings(found: Sequence[Finalist], name: str, tested: Sequence[Pair]) -> list[Standing]:
    """Best first; `tested` are pairs(found, name)."""
    size, score, ranked = place(found), score_of(found, name), _ranked(found, name)
    differ = {((by.study, by.trial), (by.other_study, by.other_trial)): by.told_apart for by in tested}
    ties = letters([(one.study, one.trial) for one in ranked], differ)
    return [
        Standing(
            one.study,
            one.trial,
            one.source,
            score.of(one.test[size]),
            *interval(one.test[size], score),
            ties[one.study, one.trial],
            *_drop(one, score),
        )
        for one in ranked
    ]


def _ranked(found: Sequence[Finalist], name: str) -> list[Finalist]:
    size, score = place(found), score_of(found, name)
    return sorted(found, key=lambda one: (-score.of(one.test[size]), one.study, one.trial))


def _drop(one: Finalist, score: Additive) -> tuple[float, float, float]:
    """Validation less test and its interval: two samples of images, so their variances add."""
    if one.val is None or "train" not in one.test:
        return NOT_KNOWN, NOT_KNOWN, NOT_KNOWN
    val, test = score.of(one.val), score.of(one.test["train"])
    (val_low, val_high), (test_low, test_high) = interval(one.val, score), interval(one.test["train"], score)
    below = ((val - val_low) ** 2 + (test_high - test) ** 2) ** 0.5
    above = ((val_high - val) ** 2 + (test - test_low) ** 2) ** 0.5
    return val - test, val - test - below, val - test + above


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
    if given.format == "text":
        title = finalists_text.title(name, place(found), len(found[0].ids))
        return table.write(finalists_text.to_text(title, name, standing, tested))
    rows = [dataclasses.asdict(row) for row in (tested if given.pairs else standing)]
    columns = [field.name for field in dataclasses.fields(Pair if given.pairs else Standing)]
    return table.write(FORMATS[given.format](pd.DataFrame(rows, columns=columns)))


def default_score(opened: load.Study, found: Sequence[Finalist]) -> str:
    """The objective's, where it is a score of test images that has an interval."""
    given = opened.info["spec"].get("objective", {})
    objective = given[0] if isinstance(given, list) else given
    name = str(objective.get("metric", SCORE)).removeprefix("val_")
    if not found:
        return name
    try:
        score_of(found, name)
    except NotComparable:
        return SCORE
    return name


if __name__ == "__main__":
    sys.exit(main())
