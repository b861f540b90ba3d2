"""A small study, written by the code that writes real ones."""

import base64
from pathlib import Path
from typing import Any

import pytest

from seg.experiment import Experiment
from study.records import Record, State, write_record
from study.store import Store

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABpfZFQAAAAABJRU5ErkJggg=="
)


def experiment(trial: int) -> Experiment:
    frozen = trial % 3 == 0
    return Experiment(
        dataset="phantom",
        image_size=64,
        model=("mobilenetv2_plain", "mobilenetv2_skip")[trial % 2],
        loss=("bce", "dice_bce")[trial % 2],
        loss_parameters={"dice_weight": 0.1 + trial / 10} if trial % 2 else {},
        epochs=4,
        decoder_lr=10 ** (-4 + trial / 6),
        encoder_lr=None if frozen else 10 ** (-5 + trial / 6),
        encoder_freeze=frozen,
    )


def epoch_row(epoch: int, iou: float) -> dict[str, Any]:
    return {
        "epoch": epoch,
        "train_loss": 1 / epoch,
        "train_iou": iou + 0.02,
        "val_loss": 1.1 / epoch,
        "val_iou": iou,
        "val_dice": 2 * iou / (1 + iou),
        "val_pixel_accuracy": 0.9,
        "val_sensitivity": 0.8,
        "val_specificity": 0.95,
        "seconds": 2.0,
        "images_per_second": 50.0,
        "encoder_lr": None,
        "decoder_lr": 1e-3,
    }


def record(trial: int, state: State, epochs: int) -> Record:
    rows = [epoch_row(e, 0.3 + 0.03 * trial + 0.02 * e) for e in range(1, epochs + 1)]
    failed = state is State.FAILED
    return Record(
        trial=trial,
        id=f"{trial:08x}",
        state=state,
        source="R1 model 1 <frozen>" if trial == 0 else "search",
        experiment=experiment(trial).to_json(),
        reason="training loss is nan in epoch 1" if failed else "",
        traceback="Traceback\nDiverged: <nan>" if failed else "",
        started=f"2026-01-01T00:{trial:02d}:00+00:00",
        finished="" if state is State.RUNNING else f"2026-01-01T00:{trial:02d}:50+00:00",
        epochs=rows,
        best_epoch=epochs or None,
        gpus=2.0,
        device="cpu",
        params_trainable=10,
        params_frozen=5,
        test={"iou": 0.6, "native_iou": 0.61} if trial == 9 else None,
    )


STATES = {3: State.PRUNED, 6: State.PRUNED, 7: State.FAILED, 10: State.INFEASIBLE, 11: State.RUNNING}
EPOCHS = {3: 2, 6: 1, 7: 0, 10: 0, 11: 1}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Twelve trials: a baseline, pruned, failed, infeasible and running ones; trial 9 is the best, and a finalist."""
    folder = tmp_path / "small"
    store = Store(str(folder))
    for trial in range(12):
        write_record(store, record(trial, STATES.get(trial, State.COMPLETE), EPOCHS.get(trial, 4)))
    store.write_json("study.json", study_json())
    images = [{"file": f"{rank}.png", "id": rank, "rank": rank, "iou": 0.5} for rank in ("worst", "median")]
    for image in images:
        store.write(f"gallery/{image['file']}", PIXEL)
    store.write_json("gallery/gallery.json", {"trial": 9, "id": "x", "split": "val", "images": images})
    return folder


def study_json() -> dict[str, Any]:
    return {
        "format": 1,
        "name": "small",
        "created": "2026-01-01T00:00:00+00:00",
        "finished": "",
        "command": "python -m study.run phantom",
        "spec": {"image_size": 64, "objective": {"metric": "val_iou", "mode": "max"}},
        "dataset": {
            "name": "phantom",
            "synthetic": True,
            "remark": "",
            "class_names": ["background", "lesion"],
            "images": {"train": 6, "val": 2, "test": 2},
        },
        "software": {"torch": "2", "python": "3"},
    }
