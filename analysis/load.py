"""A study's records as data frames.

Every function takes a study as `<storage>/<name>` (a folder or an fsspec URI) or as what `open_study` returned.
A table remembers its study in `table.attrs["study"]`: a figure reads the objective and the search space there.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import columns
from study.names import is_file_name
from study.records import FormatError, Record, read_records
from study.redact import redact
from study.store import Store, StoreError

FORMAT = 1


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
    seconds; `test_*` are there only where a finalist was scored. What a trial does not have is missing.
    StudyNotFound where there is no study.
    """
    opened = open_study(study)
    rows = [_trial_row(record) for record in opened.records]
    return columns.frame(rows, columns.trial_columns(rows), opened.info)


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
    store = open_study(study).store
    try:
        listed = store.read_json("gallery/gallery.json")
        _check_plain(store, [image["file"] for image in listed["images"]])
        pictures = [
            Picture(image["id"], image["rank"], image["iou"], store.read(f"gallery/{image['file']}"))
            for image in listed["images"]
        ]
    except FileNotFoundError:
        return None, []
    return listed["trial"], pictures


def _check_plain(store: Store, files: list[str]) -> None:
    for file in files:
        if not is_file_name(file):
            listed = f"{store.uri}/gallery/gallery.json"
            raise StudyNotFound(f"{listed}: names a file outside its folder ({file!r}); remove the folder")


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
        "train_seconds": seconds if record.epochs else None,
        "gpu_seconds": seconds * record.gpus if record.epochs else None,
        "images_per_second": images / seconds if seconds else None,
        "device": record.device,
        "lane": record.extra.get("lane") or "",
        "idle_seconds": record.extra.get("idle_seconds"),
        **{name: getattr(record, name) for name in ("workers", "gpus", "threads", "started", "finished")},
    }
