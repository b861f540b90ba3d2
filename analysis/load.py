"""A study's records as data frames. STUDY is `<storage>/<name>`, a local folder or any fsspec URI such as s3://..."""

from pathlib import Path
from typing import Any

import pandas as pd

from study.records import Record, read_records
from study.store import Store

FIRST = ("trial", "id", "state", "reason", "source", "model", "loss")
HYPERPARAMETERS = ("encoder_freeze", "encoder_lr", "decoder_lr")
MORE_HYPERPARAMETERS = (
    "oversample",
    "batch_size",
    "augment",
    "optimizer",
    "weight_decay",
    "schedule",
    "normalize",
    "encoder_weights",
    "image_size",
)
SCORES = ("val_loss", "val_iou", "val_dice", "val_pixel_accuracy")
COSTS = ("params_trainable", "params_frozen", "train_seconds", "gpu_seconds", "images_per_second", "device")
EPOCH_COLUMNS = ("train_loss", "train_iou", *SCORES, "seconds", "encoder_lr", "decoder_lr")


class StudyNotFound(Exception):
    """There is no study at that place. One line: where, what to do."""


def open_study(study: str | Path) -> Store:
    """StudyNotFound where `study` is none."""
    uri = str(study)
    store = Store(uri if "://" in uri else str(Path(uri).resolve()))
    if not store.exists("study.json"):
        raise StudyNotFound(f"{uri}: no study here (study.json is missing); give <storage>/<name>")
    return store


def study_info(study: str | Path) -> dict[str, Any]:
    """study.json: name, spec, dataset, machine, versions."""
    info: dict[str, Any] = open_study(study).read_json("study.json")
    return info


def trials(study: str | Path) -> pd.DataFrame:
    """One row a trial, ordered by number. Scores are those of the trial's best epoch; missing where there is none."""
    return trial_table(read_records(open_study(study)))


def epochs(study: str | Path) -> pd.DataFrame:
    """One row a trial and epoch: `trial`, `epoch`, losses, scores, seconds, learning rates, then every other score."""
    return epoch_table(read_records(open_study(study)))


def trial_table(records: list[Record]) -> pd.DataFrame:
    rows = pd.DataFrame([_trial_row(record) for record in records])
    losses = sorted(str(name) for name in rows if str(name).startswith("loss_"))
    tests = [str(name) for name in rows if str(name).startswith("test_")]
    planned = ["seed", "epochs", *SCORES, "best_epoch", *COSTS]
    order = [*FIRST, *HYPERPARAMETERS, *losses, *MORE_HYPERPARAMETERS, *planned, *tests]
    rest = [name for name in rows if name not in order]
    return rows.reindex(columns=[*order, *rest])


def epoch_table(records: list[Record]) -> pd.DataFrame:
    told = ("state", "source", "model", "loss")
    rows = pd.DataFrame(
        [
            {"trial": record.trial, **row} | dict(zip(told, _told(record), strict=True))
            for record in records
            for row in record.epochs
        ]
    )
    order = ["trial", "epoch", *EPOCH_COLUMNS]
    return rows.reindex(columns=[*order, *(name for name in rows if name not in order)])


def _told(record: Record) -> tuple[str, str, str, str]:
    return str(record.state), record.source, record.experiment["model"], record.experiment["loss"]


def _trial_row(record: Record) -> dict[str, Any]:
    experiment = dict(record.experiment)
    loss_parameters = experiment.pop("loss_parameters")
    best = {name: value for name, value in record.best.items() if name.startswith("val_")}
    speeds = [row["images_per_second"] for row in record.epochs]
    return {
        "trial": record.trial,
        "id": record.id,
        "state": str(record.state),
        "reason": record.reason,
        "source": record.source,
        **experiment,
        **{f"loss_{name}": value for name, value in loss_parameters.items()},
        "epochs": len(record.epochs),
        "best_epoch": record.best_epoch,
        **best,
        "params_trainable": record.params_trainable,
        "params_frozen": record.params_frozen,
        "train_seconds": record.train_seconds,
        "gpu_seconds": record.train_seconds * record.gpus,
        "images_per_second": sum(speeds) / len(speeds) if speeds else None,
        "device": record.device,
        **{f"test_{name}": value for name, value in (record.test or {}).items()},
        "epochs_planned": record.experiment["epochs"],
        "started": record.started,
        "finished": record.finished,
    }
