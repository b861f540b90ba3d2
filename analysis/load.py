"""A study's records as data frames.

Every function takes a study as `<storage>/<name>` (a folder or an fsspec URI) or as a Study from `open_study`. A table
keeps its study in `table.attrs["study"]`; figures read the objective and the search space there.
"""

import io
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis import columns, ranking
from seg.cli import UserError, redact
from study.store import Store, records
from study.store.names import is_file_name
from study.store.records import Record, read_records, read_study, read_used

STINT = ("lane", "started", "finished")


@dataclass(frozen=True)
class Study:
    address: str
    """The address as the user gave it."""
    store: Store
    info: dict[str, Any]
    """The content of study.json: spec, dataset, machine, versions."""
    records: list[Record]


@dataclass(frozen=True)
class Picture:
    """A validation image of the best trial: image, truth, and prediction side by side."""

    id: str
    rank: str
    """`worst` or `median`."""
    iou: float
    png: bytes


@dataclass(frozen=True)
class Difference:
    """A validation image on which the two leading trials differ: image, truth, and both predictions."""

    id: str
    ious: tuple[float, float]
    png: bytes


def open_study(study: str | Study) -> Study:
    """Read study.json and every record. Raises UserError if there is no study, or it cannot be read."""
    if isinstance(study, Study):
        return study
    address = str(study).rstrip("/")
    store = records.open_study(address)
    with store.reached():
        return Study(address, store, read_study(store), read_records(store))


def trials(study: str | Study) -> pd.DataFrame:
    """Return one row for each trial, by number.

    Scores (0 to 1, except losses) are those of the trial's best epoch. `*_seconds` are in seconds. `test_*` exist only
    if a finalist was scored, and `pareto` only if there are several objectives. `cost` exists only if machines have a
    price. It is a trial's share of what all machines have cost, idle or not, by training time and GPUs (or workers).
    What a trial does not have is missing. Raises UserError if there is no study.
    """
    opened = open_study(study)
    rows = [_trial_row(record) for record in opened.records]
    table = columns.frame(rows, columns.trial_columns(rows), opened.info)
    if rows and (usd := _usd(opened)) is not None:
        lane_seconds = table["train_seconds"] * table["gpus"].where(table["gpus"] > 0, table["workers"])
        table["cost"] = usd * lane_seconds / lane_seconds.sum()
    if len(ranking.objectives(table)) > 1:
        table["pareto"] = ranking.on_front(table)
    return table


def stints(study: str | Study) -> pd.DataFrame:
    """Return `trials` with one row for each time a trial was on a lane.

    `lane`, `started`, and `finished` are of that time. A paused trial has several rows; a trial that no lane took has
    no row.
    """
    opened = open_study(study)
    rows = [
        {"trial": record.trial} | {name: stint[name] for name in STINT}
        for record in opened.records
        for stint in record.extra.get("stints", [])
        if stint["lane"] and stint["finished"]
    ]
    table = trials(opened)
    if not rows:
        return table[:0]
    merged = table.drop(columns=list(STINT)).merge(pd.DataFrame(rows), on="trial")
    merged.attrs = table.attrs
    return merged


def epochs(study: str | Study) -> pd.DataFrame:
    """Return one row for each trial and epoch: columns.EPOCH, then all other scores, state, and source."""
    opened = open_study(study)
    rows = [
        {"trial": record.trial, **epoch, "state": str(record.state), "source": record.source}
        for record in opened.records
        for epoch in record.epochs
    ]
    named = columns.with_rest(columns.EPOCH, [*rows, dict.fromkeys(("state", "source"))])
    return columns.frame(rows, named, opened.info)


def failures(study: str | Study) -> pd.DataFrame:
    """Return the trials that failed or were infeasible: trial, state, reason, traceback."""
    broken = [record for record in open_study(study).records if record.state in ("FAILED", "INFEASIBLE")]
    rows = [
        {"trial": r.trial, "state": str(r.state), "reason": redact(r.reason), "traceback": redact(r.traceback)}
        for r in broken
    ]
    return pd.DataFrame(rows, columns=["trial", "state", "reason", "traceback"])


def counts(study: str | Study, trial: int, split: str = "val") -> pd.DataFrame | None:
    """Return the counts of each image and class at the trial's best epoch; None if they were not kept.

    `split`: `val`, or `test` for the sealed test split.
    """
    return _table_of(open_study(study), trial, f"{split}_counts")


def confusion(study: str | Study, trial: int, split: str = "val") -> pd.DataFrame | None:
    """Return the pixels of a split by class index: columns truth, prediction, pixels.

    On the `test` split there is also size, `train` or `native`. None if they were not kept, as by older versions.
    """
    opened = open_study(study)
    table = _table_of(opened, trial, f"{split}_confusion")
    if table is not None:
        table.attrs["study"] = opened.info
    return table


def _table_of(opened: Study, trial: int, kind: str) -> pd.DataFrame | None:
    """Return a file of a trial as a table.

    None if the trial has no file of this kind, or a running trial is just replacing it.
    """
    record = next((record for record in opened.records if record.trial == trial), None)
    try:
        return pd.read_parquet(io.BytesIO(opened.store.read(record.path(kind)))) if record else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        place = f"{opened.store.uri}/{record.path(kind) if record else ''}"
        raise UserError(f"{place}: cannot be read ({' '.join(str(error).split())}); restore the file") from error


def class_shares(study: str | Study, trial: int | None = None) -> pd.DataFrame:
    """Return how often each class occurs in the training images, one row for each class.

    Columns: class, name, pixel_share, and image_share (the share of the training images that contain the class). With
    `sampled_` before them, the last two describe an epoch of `trial`, if it oversamples. The table is empty if nothing
    was kept.
    """
    opened = open_study(study)
    data = opened.info["dataset"]
    shares = {name: data[name] for name in ("pixel_share", "image_share") if name in data}
    record = next((record for record in opened.records if record.trial == trial), None)
    if record is not None and record.experiment.get("oversample"):
        sampling = record.extra.get("sampling", {})
        shares |= {name: values for name, values in sampling.items() if name.startswith("sampled_")}
    names = data["class_names"] if shares else []
    table = pd.DataFrame({"class": range(len(names)), "name": names, **shares})
    table.attrs["study"] = opened.info
    return table


def gallery(study: str | Study) -> tuple[int | None, list[Picture]]:
    """Return the trial that the pictures show, and the pictures; (None, []) if there are no pictures yet."""
    listed, contents = _pictures(open_study(study).store, "gallery")
    if listed is None:
        return None, []
    images = zip(listed["images"], contents, strict=True)
    return listed["trial"], [Picture(image["id"], image["rank"], image["iou"], png) for image, png in images]


def duel(study: str | Study) -> tuple[tuple[int, int] | None, list[Difference]]:
    """Return the two leading trials, and images on which they differ.

    Images that the first trial is better on come before those that the second is better on. (None, []) if there are no
    such images, as with older versions.
    """
    listed, contents = _pictures(open_study(study).store, "duel")
    if listed is None:
        return None, []
    first, second = listed["trials"]
    images = zip(listed["images"], contents, strict=True)
    return (first, second), [Difference(image["id"], tuple(image["ious"]), png) for image, png in images]


def _pictures(store: Store, folder: str) -> tuple[dict[str, Any] | None, list[bytes]]:
    """Return `<folder>/<folder>.json` and the files that it lists.

    (None, []) if that file is missing, or is just being replaced.
    """
    try:
        listed = store.read_json(f"{folder}/{folder}.json")
        files = [image["file"] for image in listed["images"]]
        if strange := [file for file in files if not is_file_name(file)]:
            place = f"{store.uri}/{folder}/{folder}.json"
            raise UserError(f"{place}: names a file outside its folder ({strange[0]!r}); remove the folder")
        return listed, [store.read(f"{folder}/{file}") for file in files]
    except FileNotFoundError:
        return None, []


def _trial_row(record: Record) -> dict[str, Any]:
    experiment = record.experiment
    return {
        "trial": record.trial,
        "id": record.id,
        "state": str(record.state),
        "reason": redact(record.reason),
        "source": record.source,
        **{name: experiment.get(name) for name in ("model", "loss", "seed", "dataset", "image_size")},
        **{name: value for name, value in experiment.items() if name not in columns.NO_HYPERPARAMETERS},
        **{f"loss_{name}": value for name, value in experiment.get("loss_parameters", {}).items()},
        "epochs": len(record.epochs),
        "epochs_planned": experiment.get("epochs"),
        "replicate_of": record.replicate_of,
        **{name: value for name, value in record.best.items() if name.startswith("val_")},
        **{f"test_{name}": value for name, value in (record.test or {}).items()},
        **_costs(record),
    }


def _costs(record: Record) -> dict[str, Any]:
    seconds = record.train_seconds
    images = sum((row["images_per_second"] or 0) * row["seconds"] for row in record.epochs)
    return {
        "best_epoch": record.best_epoch,
        "params_trainable": record.params_trainable,
        "params_frozen": record.params_frozen,
        "params_total": record.params_total,
        "latency_ms": record.latency_ms,
        "train_seconds": seconds if record.epochs else None,
        "gpu_seconds": record.gpu_seconds if record.epochs else None,
        "images_per_second": images / seconds if seconds else None,
        "device": record.device,
        "precision": record.extra.get("precision") or record.experiment.get("precision", ""),
        "lane": record.extra.get("lane") or "",
        "idle_seconds": record.extra.get("idle_seconds"),
        **{name: getattr(record, name) for name in ("workers", "gpus", "threads", "started", "finished")},
    }


def _usd(opened: Study) -> float | None:
    """Return the USD that the study's machines have cost so far; None if they have no price or were not measured."""
    prices = opened.info["spec"].get("resources", {}).get("price_per_hour")
    used = read_used(opened.store) if prices else None
    return used.usd(prices) if used and used.node_hours else None
