"""The finalists' counts per image on the sealed test split, and those of their seed replicates."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from analysis import load
from analysis.load import Study, open_study
from analysis.scores.definitions import definitions
from analysis.scores.ratios import Additive, Sums, sums
from seg.cli import UserError
from study.store.records import ENSEMBLES, Record


@dataclass(frozen=True)
class Ensemble:
    name: str
    trials: tuple[int, ...]
    flips: bool
    """Whether each trial's predictions were averaged over the flips of every image."""
    counts: pd.DataFrame
    """The counts per test image and class, at the masks' own size."""


def ensembles(study: str | Study) -> list[Ensemble]:
    """Return the ensembles that study.ensemble kept. Raises UserError if one cannot be read."""
    store = open_study(study).store
    names = [name.removesuffix(".json") for name in store.names(ENSEMBLES) if name.endswith(".json")]
    found = []
    for file in (f"{ENSEMBLES}/{name}" for name in names):
        try:
            content = store.read_json(f"{file}.json")
            counts = pd.read_parquet(io.BytesIO(store.read(f"{file}.parquet")))
            found.append(
                Ensemble(str(content["name"]), tuple(map(int, content["trials"])), bool(content["flips"]), counts)
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{store.uri}/{file}: cannot be read ({reason}); restore it or remove it") from error
    return found


SCORE = "iou"
ENSEMBLE, FLIPS = "ensemble", "averaged over flips"


class NotComparable(UserError):
    """The error for finalists that cannot be compared. Its message is one line: which, why, what to do."""


@dataclass(frozen=True)
class Finalist:
    """A trial, or an ensemble of trials, whose counts on the sealed test split are kept."""

    study: str
    trial: int | str
    """A trial's number, or an ensemble's name: `3+8 flips` averages trials 3 and 8 over flipped images."""
    source: str
    image_size: int
    """The training size in pixels."""
    ids: tuple[str, ...]
    """The ids of the test images."""
    test: dict[str, Sums]
    """The counts by the size at which masks were compared: `train` or `native`."""
    val: Sums | None
    seed: int = 0
    replicate_of: int | None = None
    replicates: tuple["Finalist", ...] = ()
    """The same experiment with other seeds."""

    @property
    def trainings(self) -> tuple["Finalist", ...]:
        """The finalist and its replicates."""
        return self, *self.replicates

    @property
    def classes(self) -> int:
        return next(iter(self.test.values())).hard.shape[1]


def finalists(studies: Sequence[str | load.Study]) -> list[Finalist]:
    """Return the finalists of all studies, each with its seed replicates.

    Ensembles are included if every finalist was counted at the masks' own size. Raises UserError if a study is
    missing or damaged. Raises NotComparable if test images, classes, or sizes differ, or if a study is given twice.
    """
    opened = [load.open_study(study) for study in studies]
    named = list(zip(opened, _names(opened), strict=True))
    found = [one for study, name in named for r in study.records if (one := _finalist(study, name, r))]
    if place(found) == "native":
        found += [one for study, name in named for one in _together(study, name)]
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
    return [replace(one, replicates=_replicates(one, found)) for one in found if one.replicate_of is None]


def _replicates(one: Finalist, found: Sequence[Finalist]) -> tuple[Finalist, ...]:
    return tuple(other for other in found if (other.study, other.replicate_of) == (one.study, one.trial))


def _names(opened: Sequence[load.Study]) -> list[str]:
    """Return each study's name, or its address if another study has the same name."""
    names = [str(study.info["name"]) for study in opened]
    unique = [name if names.count(name) == 1 else study.address for name, study in zip(names, opened, strict=True)]
    if twice := {name for name in unique if unique.count(name) > 1}:
        raise NotComparable(f"{twice.pop()}: is given twice; give each study once")
    return unique


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
        seed=int(record.experiment.get("seed", 0)),
        replicate_of=record.replicate_of,
    )


def _together(opened: load.Study, name: str) -> Iterator[Finalist]:
    sizes = {record.trial: int(record.experiment["image_size"]) for record in opened.records}
    for one in ensembles(opened):
        yield Finalist(
            study=name,
            trial=one.name,
            source=FLIPS if one.flips and len(one.trials) == 1 else ENSEMBLE,
            image_size=max((sizes.get(trial, 0) for trial in one.trials), default=0),
            ids=tuple(sorted(one.counts["id"].unique())),
            test={str(size): sums(rows) for size, rows in one.counts.groupby("size")},
            val=None,
        )


def place(found: Sequence[Finalist]) -> str:
    """Return the size to compare at: `native` (the masks' own) if all were counted there, otherwise `train`."""
    trained = [other for one in found for other in one.trainings]
    return "native" if all("native" in one.test for one in trained) else "train"


def score_of(found: Sequence[Finalist], name: str) -> Additive:
    """Return the score `name`. Raises NotComparable if the task has no such score or it has no interval."""
    known = {d.name: d.score for d in definitions(found[0].test[place(found)]) if isinstance(d.score, Additive)}
    if name not in known:
        raise NotComparable(f"--score {name}: is not known; choose from {', '.join(known)}")
    return known[name]


def default_score(opened: load.Study, found: Sequence[Finalist]) -> str:
    """Return the name of the objective's score, or `iou` if it has no interval on test images."""
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
