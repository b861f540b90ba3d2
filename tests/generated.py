"""Studies as the code that writes real ones writes them, with contents that are known."""

import io
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from seg.experiment import Experiment
from study.store import Store
from study.store.records import REPLICATE, Record, State, write_record

BASELINES = {0: "R1 model 1 <frozen>", 1: "R3 experiment 2"}
SEARCH = {
    "model": ["mobilenetv2_plain", "mobilenetv2_skip"],
    "encoder_freeze": [True, False],
    "encoder_lr": {"low": 1e-5, "high": 1e-3, "log": True},
    "decoder_lr": {"low": 1e-4, "high": 1e-2, "log": True},
    "loss": {"bce": {}, "dice_bce": {"dice_weight": {"low": 0.1, "high": 2.0, "log": True}}},
}
IMAGES = 120
"""Of a split."""


def experiment(trial: int) -> Experiment:
    """Every third encoder is frozen; every other trial has the skip model and the weighted loss."""
    frozen, odd = trial % 3 == 0, trial % 2 == 1
    return Experiment(
        dataset="phantom",
        image_size=64,
        model="mobilenetv2_skip" if odd else "mobilenetv2_plain",
        loss="dice_bce" if odd else "bce",
        loss_parameters={"dice_weight": 0.1 + trial / 10} if odd else {},
        epochs=4,
        decoder_lr=10 ** (-4 + trial / 6),
        encoder_lr=None if frozen else 10 ** (-5 + trial / 6),
        encoder_freeze=frozen,
    )


def epoch_row(epoch: int, iou: float) -> dict[str, Any]:
    scores = {"iou": iou, "dice": 2 * iou / (1 + iou), "pixel_accuracy": 0.9, "sensitivity": 0.8, "specificity": 0.95}
    return {
        "epoch": epoch,
        "train_loss": 1 / epoch,
        "train_iou": iou + 0.02,
        "val_loss": 1.1 / epoch,
        **{f"val_{name}": value for name, value in scores.items()},
        "seconds": 2.0,
        "images_per_second": 50.0,
        "encoder_lr": None,
        "decoder_lr": 1e-3,
    }


def study_json() -> dict[str, Any]:
    baselines = [{"name": name, "system": name[:2], "published": {"iou": 0.5}} for name in BASELINES.values()]
    objective = {"metric": "val_iou", "mode": "max"}
    return {
        "format": 1,
        "name": "small",
        "created": "2026-01-01T00:00:00+00:00",
        "finished": "",
        "command": "python -m study.run phantom",
        "spec": {"image_size": 64, "objective": objective, "search": SEARCH, "baselines": baselines},
        "dataset": {
            "name": "phantom",
            "synthetic": True,
            "remark": "generated",
            "class_names": ["background", "lesion"],
            "images": {"train": 6, "val": 4, "test": 2},
        },
        "machine": {"cpus": 2, "gpus": 0, "host": "here"},
        "software": {"torch": "2", "python": "3"},
    }


def write_parquet(store: Store, name: str, table: pd.DataFrame) -> None:
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    store.write(name, buffer.getvalue())


def counts(seed: int, quality: float, prefix: str = "test", pixels: int = 4000) -> pd.DataFrame:
    """Of a model that finds about `quality` of each lesion; images are as hard for every model."""
    hard, rng = np.random.default_rng(0), np.random.default_rng(seed)
    lesion = hard.integers(pixels // 40, pixels // 2, IMAGES)
    found = (lesion * (quality + hard.normal(0, 0.08, IMAGES) + rng.normal(0, 0.03, IMAGES)).clip(0, 1)).astype(int)
    false = (lesion * rng.uniform(0, 0.1, IMAGES)).astype(int)
    rows = []
    for image, (size, tp, fp) in enumerate(zip(lesion, found, false, strict=True)):
        one = {"tp": tp, "fp": fp, "fn": size - tp, "tn": pixels - size - fp}
        soft = {"soft_intersection": tp * 0.9, "soft_prediction": tp + fp * 0.9, "soft_target": size * 1.0}
        other = {"tp": one["tn"], "fp": one["fn"], "fn": one["fp"], "tn": one["tp"]}
        rows += [
            {"id": f"{prefix}{image}", "class": 0, **other, **soft},
            {"id": f"{prefix}{image}", "class": 1, **one, **soft},
        ]
    return pd.DataFrame(rows)


def written(
    folder: Path,
    qualities: list[float],
    name: str = "known",
    repeats: Mapping[int, int] = MappingProxyType({}),
    **other: Any,
) -> Path:
    """A study whose trials, all scored on the test split, find so much of each lesion. `repeats`: which of them are
    another one with another seed."""
    store = Store(str(folder))
    store.write_json("study.json", study_json() | {"name": name} | other)
    for trial, quality in enumerate(qualities):
        names = {kind: f"{kind}.parquet" for kind in ("val_counts", "test_counts")}
        ended = Record(trial, f"{trial:08x}", State.COMPLETE, "search", experiment(2).to_json())
        ended.epochs, ended.best_epoch, ended.device = [epoch_row(1, quality)], 1, "cpu"
        ended.started, ended.finished = "2026-01-01T00:00:00+00:00", "2026-01-01T00:01:00+00:00"
        ended.test, ended.files = {"iou": quality}, names
        if trial in repeats:
            ended.source, ended.replicate_of = REPLICATE, repeats[trial]
            ended.experiment["seed"] = trial
        write_record(store, ended)
        sizes = {"train": counts(trial + 1, quality), "native": counts(trial + 1, quality, pixels=64000)}
        tested = pd.concat([rows.assign(size=size) for size, rows in sizes.items()])
        write_parquet(store, f"trials/{trial:05d}/test_counts.parquet", tested)
        write_parquet(store, f"trials/{trial:05d}/val_counts.parquet", counts(trial + 50, quality + 0.05, "val"))
    return folder


SPACE: dict[str, Any] = {
    "model": ["plain", "skip", "deep"],
    "encoder_freeze": [True, False],
    "encoder_lr": {"low": 1e-5, "high": 1e-2, "log": True},
    "decoder_lr": {"low": 1e-4, "high": 1e-1, "log": True},
    "oversample": [0.0, 0.5],
    "loss": {"bce": {}, "dice_bce": {"dice_weight": {"low": 0.1, "high": 2.0, "log": True}}},
}


def trials(seed: int, count: int = 60, noise: float = 0.02, **planted: Any) -> pd.DataFrame:
    """Random choices; a score of 0.7, what `planted` adds by the value of a choice (a function of it), and noise."""
    rng = np.random.default_rng(seed)
    frozen, weighted = rng.random(count) < 0.5, rng.random(count) < 0.5
    table = pd.DataFrame(
        {
            "trial": range(count),
            "state": "COMPLETE",
            "source": "search",
            "model": rng.choice(SPACE["model"], count),
            "loss": np.where(weighted, "dice_bce", "bce"),
            "encoder_freeze": pd.array(frozen, dtype="boolean"),
            "encoder_lr": np.where(frozen, np.nan, 10 ** rng.uniform(-5, -2, count)),
            "decoder_lr": 10 ** rng.uniform(-4, -1, count),
            "loss_dice_weight": np.where(weighted, 10 ** rng.uniform(-1, np.log10(2), count), np.nan),
            "oversample": rng.choice(SPACE["oversample"], count),
            "seed": 0,
            "epochs": 4,
            "best_epoch": 3,
            "train_seconds": 10.0,
            "finished": [f"2026-01-01T{i // 60:02d}:{i % 60:02d}:00+00:00" for i in range(count)],
        }
    )
    score = 0.7 + noise * rng.standard_normal(count)
    for name, effect in planted.items():
        score += np.array([0.0 if pd.isna(value) else effect(value) for value in table[name]])
    table["val_iou"] = score
    table.attrs["study"] = study_json() | {"spec": study_json()["spec"] | {"search": SPACE}}
    return table
