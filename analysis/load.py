"""A study's records as data frames.

Every function takes a study as `<storage>/<name>` (a folder or an fsspec URI) or as what `open_study` returned.
A table remembers its study in `table.attrs["study"]`: a figure reads the objective and the search space there.
"""

import io
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import columns, compare
from study.meter import read_used
from study.names import is_file_name
from study.records import FormatError, Record, read_records
from study.redact import redact
from study.store import Store, StoreError

FORMAT = 1
STINT = ("lane", "started", "finished")
PAUSE_SECONDS = 300
"""Beside twice the time it trained, that a trial may take before it counts as one that was taken up again."""


class StudyNotFound(ValueError):
    """There is no study at the address, or none that this version reads. The message is one line."""


@dataclass(frozen=True)
class Study:
    address: str
    """As the user gave it."""
    store: Store
    info: dict[str, Any]
    """study.json: spec, dataset, machine, versions."""
    records: list[Record]


@dataclass(frozen=True)
class Picture:
    """One validation image of the best trial: image, truth and prediction side by side."""

    id: str
    rank: str
    """`worst` or `median`."""
    iou: float
    png: bytes


@dataclass(frozen=True)
class Difference:
    """A validation image on which the two trials that lead differ: image, truth, and what each of them sees."""

    id: str
    ious: tuple[float, float]
    png: bytes


def open_study(study: str | Study) -> Study:
    """Read study.json and every record. StudyNotFound where there is none, or it is damaged."""
    if isinstance(study, Study):
        return study
    address = str(study).rstrip("/")
    try:
        store = Store(address if "://" in address else str(Path(address).expanduser().resolve()))
        with store.reached():
            return Study(address, store, _read_info(store, address), read_records(store))
    except (StoreError, FormatError) as error:
        raise StudyNotFound(str(error)) from error
    except StudyNotFound:
        raise
    except (ValueError, TypeError, KeyError) as error:
        raise StudyNotFound(f"{address}: a trial's record cannot be read ({error}); restore or remove it") from error


def _read_info(store: Store, address: str) -> dict[str, Any]:
    try:
        info = store.read_json("study.json")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise StudyNotFound(
            f"{address}: no study here (study.json is missing); give <storage>/<name>, a folder or s3://..."
        ) from error
    except (OSError, ValueError) as error:
        raise StudyNotFound(f"{address}: its study.json cannot be read ({error}); check the address") from error
    if not isinstance(info, dict) or info.get("format") != FORMAT:
        raise StudyNotFound(f"{address}: its study.json is not of format {FORMAT}, the one this version reads")
    return info


def study_info(study: str | Study) -> dict[str, Any]:
    """study.json: name, spec, dataset, machine, software. StudyNotFound where there is none."""
    return open_study(study).info


def trials(study: str | Study) -> pd.DataFrame:
    """One row a trial, by number. Scores (0 to 1, losses aside) are those of its best epoch; `*_seconds` are in
    seconds; `test_*` are there only where a finalist was scored, `pareto` only where there are several objectives, and
    `cost` where machines have a price: a trial's share, by training time, of what all of them have cost, idle or not.
    What a trial does not have is missing.
    StudyNotFound where there is no study.
    """
    opened = open_study(study)
    rows = [_trial_row(record) for record in opened.records]
    table = columns.frame(rows, columns.trial_columns(rows), opened.info)
    if rows and (usd := _usd(opened)) is not None:
        lane_seconds = table["train_seconds"] * table["gpus"].where(table["gpus"] > 0, table["workers"])
        table["cost"] = usd * lane_seconds / lane_seconds.sum()
    if len(compare.objectives(table)) > 1:
        table["pareto"] = compare.on_front(table)
    return table


def stints(study: str | Study) -> pd.DataFrame:
    """As `trials`, one row for each time a trial was on a lane: `lane`, `started` and `finished` are of that time. A
    paused trial has several, one that no lane took none."""
    opened = open_study(study)
    rows = [
        {"trial": record.trial} | {name: stint[name] for name in STINT}
        for record in opened.records
        for stint in _stints(record)
        if stint["lane"] and stint["finished"]
    ]
    table = trials(opened)
    if not rows:
        return table[:0]
    merged = table.drop(columns=list(STINT)).merge(pd.DataFrame(rows), on="trial")
    merged.attrs = table.attrs
    return merged


def epochs(study: str | Study) -> pd.DataFrame:
    """One row a trial and epoch: columns.EPOCH, then every other score, state and source."""
    opened = open_study(study)
    rows = [
        {"trial": record.trial, **epoch, "state": str(record.state), "source": record.source}
        for record in opened.records
        for epoch in record.epochs
    ]
    named = columns.with_rest(columns.EPOCH, [*rows, dict.fromkeys(("state", "source"))])
    return columns.frame(rows, named, opened.info)


def failures(study: str | Study) -> pd.DataFrame:
    """Trials that ended without a score by right: trial, state, reason, traceback."""
    broken = [record for record in open_study(study).records if record.state in ("FAILED", "INFEASIBLE")]
    rows = [
        {"trial": r.trial, "state": str(r.state), "reason": redact(r.reason), "traceback": redact(r.traceback)}
        for r in broken
    ]
    return pd.DataFrame(rows, columns=["trial", "state", "reason", "traceback"])


def counts(study: str | Study, trial: int, split: str = "val") -> pd.DataFrame | None:
    """Counts of each image and class at the trial's best epoch, or on the sealed `test` split; None where not kept."""
    return _table_of(open_study(study), trial, f"{split}_counts")


def confusion(study: str | Study, trial: int, split: str = "val") -> pd.DataFrame | None:
    """All pixels of a split by class index: columns truth, prediction, pixels; on the `test` split also size, `train`
    or `native`. None where not kept, as by older versions."""
    opened = open_study(study)
    table = _table_of(opened, trial, f"{split}_confusion")
    if table is not None:
        table.attrs["study"] = opened.info
    return table


def _table_of(opened: Study, trial: int, kind: str) -> pd.DataFrame | None:
    """A file of a trial; None where it has none of this kind, or a running trial is just replacing it."""
    record = next((record for record in opened.records if record.trial == trial), None)
    try:
        return pd.read_parquet(io.BytesIO(opened.store.read(record.path(kind)))) if record else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        place = f"{opened.store.uri}/{record.path(kind) if record else ''}"
        raise StudyNotFound(f"{place}: cannot be read ({' '.join(str(error).split())}); restore the file") from error


def class_shares(study: str | Study, trial: int | None = None) -> pd.DataFrame:
    """One row a class: class, name, pixel_share and image_share (of the training images, those that hold it); with
    `sampled_` before them, the same of what an epoch of `trial` holds, where it oversamples. Empty where not kept."""
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
    """The trial that the pictures show, and the pictures; (None, []) where the study has none yet."""
    listed, contents = _pictures(open_study(study).store, "gallery")
    if listed is None:
        return None, []
    images = zip(listed["images"], contents, strict=True)
    return listed["trial"], [Picture(image["id"], image["rank"], image["iou"], png) for image, png in images]


def duel(study: str | Study) -> tuple[tuple[int, int] | None, list[Difference]]:
    """The two trials, and the images that the first is better on, then those that the second is; (None, []) where the
    study has none, as an older one."""
    listed, contents = _pictures(open_study(study).store, "duel")
    if listed is None:
        return None, []
    first, second = listed["trials"]
    images = zip(listed["images"], contents, strict=True)
    return (first, second), [Difference(image["id"], tuple(image["ious"]), png) for image, png in images]


def _pictures(store: Store, folder: str) -> tuple[dict[str, Any] | None, list[bytes]]:
    """`<folder>/<folder>.json` and the files that it lists; None where there is none, or it is just being replaced."""
    try:
        listed = store.read_json(f"{folder}/{folder}.json")
        files = [image["file"] for image in listed["images"]]
        if strange := [file for file in files if not is_file_name(file)]:
            place = f"{store.uri}/{folder}/{folder}.json"
            raise StudyNotFound(f"{place}: names a file outside its folder ({strange[0]!r}); remove the folder")
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


def _stints(record: Record) -> list[dict[str, str]]:
    """Of one that an older version kept, its last lane and when it ended there are known; and where it was taken up
    again, that it began there so much earlier as it trained."""
    if "stints" in record.extra:
        return list(record.extra["stints"])
    lane, started = str(record.extra.get("lane") or ""), record.started
    if not (lane and started and record.finished):
        return []
    ended = datetime.fromisoformat(record.finished)
    if (ended - datetime.fromisoformat(started)).total_seconds() > 2 * record.train_seconds + PAUSE_SECONDS:
        started = (ended - timedelta(seconds=record.train_seconds)).isoformat(timespec="seconds")
    return [{"lane": lane, "started": started, "finished": record.finished}]


def _usd(opened: Study) -> float | None:
    """That the study's machines have cost so far; None where they have no price, or nobody measured."""
    prices = opened.info["spec"].get("resources", {}).get("price_per_hour")
    used = read_used(opened.store) if prices else None
    return used.usd(prices) if used and used.node_hours else None
