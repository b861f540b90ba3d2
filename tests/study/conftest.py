"""Specs and records for tests of a study that nothing was trained in."""

from collections.abc import Callable, Sequence

import pytest

from seg.experiment import Experiment
from study.objective import Objective
from study.records import Record, State
from study.spec import Spec, load_spec

MakeRecord = Callable[..., Record]


@pytest.fixture
def objective() -> Objective:
    return Objective("val_iou", "max")


@pytest.fixture
def spec() -> Spec:
    """The bundled study of real images, its four baselines included."""
    return load_spec("isic", ["trials=30", "epochs=9", "early_stopping.min_epochs=1"])


@pytest.fixture
def make_record() -> MakeRecord:
    """make_record(trial, state, values): a record with one epoch a value of val_iou."""

    def make(
        trial: int,
        state: State = State.COMPLETE,
        values: Sequence[float | None] = (0.5,),
        *,
        source: str = "search",
        experiment: Experiment | None = None,
        metric: str = "val_iou",
        mode: str = "max",
        epochs: int = 9,
    ) -> Record:
        experiment = experiment or Experiment(
            "phantom", 64, "mobilenetv2_skip", "bce", epochs, decoder_lr=1e-3, encoder_lr=1e-4
        )
        rows = [
            {"epoch": number, metric: value, "seconds": 2.0, "images_per_second": 100.0}
            for number, value in enumerate(values, 1)
        ]
        best = Objective(metric, "max" if mode == "max" else "min").best_row(rows)
        record = Record(trial, f"id{trial}", state, source, experiment.to_json(), epochs=rows)
        record.best_epoch = best["epoch"] if best else None
        return record

    return make
