"""A small study, written by the code that writes real ones."""

import base64
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from generated import BASELINES, epoch_row, experiment, study_json, write_parquet

from study.store import Store
from study.store.old_formats import FIRST_NAMES
from study.store.records import Record, State, write_record

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABpfZFQAAAAABJRU5ErkJggg=="
)
SOFT = {"soft_intersection": 1.0, "soft_prediction": 2.0, "soft_target": 2.0}
BEST = 9
STATES = {3: State.PRUNED, 6: State.PRUNED, 7: State.FAILED, 10: State.INFEASIBLE, 11: State.RUNNING}
EPOCHS = {3: 2, 6: 1, 7: 0, 10: 0, 11: 1}
"""Of the trials that have not run their four epochs."""


def score(trial: int, epoch: int) -> float:
    return 0.3 + 0.03 * trial + 0.02 * epoch


def record(trial: int) -> Record:
    state, epochs = STATES.get(trial, State.COMPLETE), EPOCHS.get(trial, 4)
    tested = {"iou": 0.6, "native_iou": 0.61, "dice": 0.7}
    return Record(
        trial=trial,
        id=f"{trial:08x}",
        state=state,
        source=BASELINES.get(trial, "search"),
        experiment=experiment(trial).to_json(),
        reason="training loss is nan in epoch 1" if state is State.FAILED else "",
        traceback="Traceback\nDiverged: <nan>" if state is State.FAILED else "",
        started=f"2026-01-01T00:{trial:02d}:00+00:00",
        finished="" if state is State.RUNNING else f"2026-01-01T00:{trial:02d}:50+00:00",
        epochs=[epoch_row(epoch, score(trial, epoch)) for epoch in range(1, epochs + 1)],
        best_epoch=epochs or None,
        gpus=2.0,
        device="cpu",
        params_trainable=10,
        params_frozen=5,
        test=tested if trial in (BEST, *BASELINES) else None,
    )


def counts() -> pd.DataFrame:
    """Four images of 100 pixels: IoU 1 (both empty), 0.5, 0.25, 0."""
    lesions = {"a": (0, 0, 0, 100), "b": (10, 5, 5, 80), "c": (5, 10, 5, 80), "d": (0, 10, 10, 80)}
    rows = []
    for image, (tp, fp, fn, tn) in lesions.items():
        rows.append({"id": image, "class": 0, "tp": tn, "fp": fn, "fn": fp, "tn": tp})
        rows.append({"id": image, "class": 1, "tp": tp, "fp": fp, "fn": fn, "tn": tn})
    return pd.DataFrame(rows).assign(**SOFT)


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """A study of which only study.json is written."""
    folder = tmp_path / "small"
    Store(str(folder)).write_json("study.json", study_json())
    return folder


@pytest.fixture
def study(begun: Path) -> Path:
    """Twelve trials: two published, then searched ones that also were pruned, failed, did not fit, or still run.
    Scores rise with the trial's number; trial 9 is the best that finished."""
    store = Store(str(begun))
    for trial in range(12):
        write_record(store, replace(record(trial), files=FIRST_NAMES))
    buffer = io.BytesIO()
    counts().to_parquet(buffer, index=False)
    store.write(f"trials/{BEST:05d}/val_counts.parquet", buffer.getvalue())
    images = [{"file": f"{rank}.png", "id": rank, "rank": rank, "iou": 0.5} for rank in ("worst", "median")]
    for image in images:
        store.write(f"gallery/{image['file']}", PIXEL)
    store.write_json("gallery/gallery.json", {"trial": BEST, "id": "x", "split": "val", "images": images})
    return begun


@pytest.fixture
def change(study: Path) -> Callable[..., None]:
    """Change fields of a trial's record."""
    from study.store.records import read_record

    def changed(trial: int, **fields: Any) -> None:
        store = Store(str(study))
        found = read_record(store, trial)
        for name, value in fields.items():
            setattr(found, name, value)
        write_record(store, found)

    return changed


TRIVIAL = {
    "every pixel background": {"iou": 0.0, "pixel_accuracy": 0.8},
    "the mean training mask": {"iou": 0.42, "pixel_accuracy": 0.7},
}


@pytest.fixture
def own(study: Path, change: Callable[..., None]) -> Path:
    """The same study; its trial 0 is the recipe, trial 1 published, trial 2 a baseline of the user's own. It knows what
    no training gives, and has no verdict yet."""
    store = Store(str(study))
    info = store.read_json("study.json")
    published = info["spec"]["baselines"][1]
    info["spec"]["baselines"] = [{"name": "recipe", "system": ""}, published, {"name": "mine", "system": ""}]
    info["dataset"]["trivial"] = TRIVIAL
    store.write_json("study.json", info)
    change(0, source="recipe", test={"iou": 0.7, "native_iou": 0.71})
    change(2, source="mine", test={"iou": 0.5, "native_iou": 0.51})
    return study


@pytest.fixture
def judged(own: Path) -> Path:
    """A finished study whose choice is the recipe, although trial 9 has a better validation score."""
    store = Store(str(own))
    apart = {"low": 0.2, "high": 0.34, "error": 0.04}
    verdict = {
        "trial": 0,
        "recipe": True,
        "reason": "trial 9 leads the recipe by 0.2700 (-0.1000 to 0.5000) on 4 validation images, which is not beyond "
        "doubt",
        "metric": "iou",
        "score": 0.71,
        "low": 0.655,
        "high": 0.752,
        "trivial": "the mean training mask",
        "trivial_score": 0.44,
        "over_trivial": {"value": 0.27, **apart},
        "over_published": {"R3 experiment 2": {"value": 0.1, **apart}},
        "sentences": [
            "The choice is the recipe: test IoU 0.710 (95 % interval 0.655 to 0.752, 2 images at native size).",
            "Without any training: 0.440 (the mean training mask). The choice is better than that by 0.270 (+0.200 to "
            "+0.340).",
        ],
        "warnings": ["only 4 validation images: which trial is best is largely luck; add images"],
    }
    finished = "2026-01-02T00:00:00+00:00"
    store.write_json("study.json", store.read_json("study.json") | {"verdict": verdict, "finished": finished})
    return own


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """A study of three classes: a published trial and a better one, both scored on the test split. No search space."""
    folder = tmp_path / "pets"
    store = Store(str(folder))
    store.write_json("study.json", pets_json())
    for trial in (0, 1):
        write_record(store, replace(pets_record(trial), files=FIRST_NAMES))
        for split in ("val", "test"):
            for name, table in (("counts", pets_counts()), ("confusion", pets_confusion())):
                # Of the test split both sizes are kept; at the masks' own every pixel is four.
                scale = {"train": 1, "native": 4}
                sized = pd.concat([_times(table, factor).assign(size=size) for size, factor in scale.items()])
                write_parquet(store, f"trials/{trial:05d}/{split}_{name}.parquet", sized if split == "test" else table)
    return folder


def _times(table: pd.DataFrame, factor: int) -> pd.DataFrame:
    pixels = [name for name in ("tp", "fp", "fn", "tn", "pixels") if name in table]
    return table.assign(**{name: table[name] * factor for name in pixels})


def pets_json() -> dict[str, Any]:
    baseline = {
        "name": "R4 U-Net",
        "system": "R4",
        "published": {"train_pixel_accuracy": 0.86, "pixel_accuracy": 0.81, "iou_class2": 0.3, "iou_lowest": 0.142},
        "protocol": {"epochs": 30, "batch_size": 16, "train_images": 3680, "test_images": 40},
        "remarks": ["rates are not in the report"],
    }
    dataset = {
        "name": "pets",
        "synthetic": False,
        "remark": "4 of 40 test images",
        "class_names": ["background", "pet", "border"],
        "images": {"train": 8, "val": 2, "test": 4},
        "image_share": [1.0, 1.0, 0.5],
        "pixel_share": [0.7, 0.28, 0.02],
    }
    spec = {"image_size": 64, "objective": {"metric": "val_iou", "mode": "max"}, "baselines": [baseline]}
    return study_json() | {"name": "pets", "finished": "2026-01-02T00:00:00+00:00", "spec": spec, "dataset": dataset}


def pets_record(trial: int) -> Record:
    """Trial 1 oversamples, and is better."""
    fields = experiment(2).to_json() | {"dataset": "pets", "model": "unet", "encoder_weights": "none"}
    searched = {"model": "smp:DeepLabV3Plus:efficientnet-b0", "loss": "focal_tversky", "oversample": 0.5}
    searched["loss_parameters"] = {"alpha": 0.7, "gamma": 1.3333}
    scores = {"iou": 0.5 + 0.1 * trial, "dice": 0.6, "pixel_accuracy": 0.8, "class_accuracy": 0.7}
    scores |= {"iou_foreground": 0.4, "dice_foreground": 0.5, "soft_iou": 0.4, "soft_dice": 0.5}
    scores |= {"iou_class0": 0.9, "iou_class1": 0.6, "iou_class2": 0.2 + 0.1 * trial}
    row = {"epoch": 1, "train_loss": 0.5, "train_iou": 0.6, "train_pixel_accuracy": 0.85, "val_loss": 0.6}
    row |= {"seconds": 1.0, "images_per_second": 8.0, "encoder_lr": 1e-4, "decoder_lr": 1e-3}
    sampling = {"image_share": [1.0, 1.0, 0.5], "pixel_share": [0.7, 0.28, 0.02]}
    sampling |= {"sampled_image_share": [1.0, 1.0, 0.6], "sampled_pixel_share": [0.68, 0.29, 0.03]}
    return Record(
        trial=trial,
        id=f"{trial:08x}",
        state=State.COMPLETE,
        source="search" if trial else "R4 U-Net",
        experiment=fields | searched if trial else fields,
        started="2026-01-01T00:00:00+00:00",
        finished=f"2026-01-01T00:0{trial}:50+00:00",
        epochs=[row | {f"val_{name}": value for name, value in scores.items()}],
        best_epoch=1,
        device="cpu",
        params_trainable=10,
        params_frozen=0,
        test=scores | {f"native_{name}": value + 0.01 for name, value in scores.items()},
        extra={"sampling": sampling},
    )


def pets_counts() -> pd.DataFrame:
    """Two images of 100 pixels. In `a` all is right and there is no border; in `b` background has IoU 0.5, pet 0.25,
    border 0."""
    images = {"a": [(60, 0, 0), (40, 0, 0), (0, 0, 0)], "b": [(45, 25, 20), (10, 20, 10), (0, 0, 15)]}
    rows = [
        {"id": image, "class": place, "tp": tp, "fp": fp, "fn": fn, "tn": 100 - tp - fp - fn}
        for image, classes in images.items()
        for place, (tp, fp, fn) in enumerate(classes)
    ]
    return pd.DataFrame(rows).assign(**SOFT)


def pets_confusion() -> pd.DataFrame:
    """Of the same two images, rows truth: 105, 20, 0; 10, 50, 0; 15, 0, 0."""
    pixels = [105, 20, 0, 10, 50, 0, 15, 0, 0]
    return pd.DataFrame({"truth": [0, 0, 0, 1, 1, 1, 2, 2, 2], "prediction": [0, 1, 2] * 3, "pixels": pixels})
