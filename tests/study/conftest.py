"""Specs and records for tests of a study that nothing was trained in, and databases that mirror one."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from optuna_database import NAME, URI
from own_specs import WITH_BASELINES
from postgres_server import PostgresServer

from seg.experiment import Experiment
from study.mirror import optuna_mirror
from study.mirror.optuna_mirror import OptunaMirror
from study.ranking.objective import Objective
from study.spec import Spec, load_spec
from study.store.records import REPLICATE, Record, State

MakeRecord = Callable[..., Record]


@pytest.fixture
def objective() -> Objective:
    return Objective("val_iou", "max")


@pytest.fixture
def spec() -> Spec:
    """The bundled study of real images, its four baselines included."""
    return load_spec(WITH_BASELINES, ["trials=30", "epochs=9", "early_stopping.min_epochs=1"])


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
        replicate_of: int | None = None,
    ) -> Record:
        experiment = experiment or Experiment(
            "phantom", 64, "mobilenetv2_skip", "bce", epochs, decoder_lr=1e-3, encoder_lr=1e-4
        )
        rows = [
            {"epoch": number, metric: value, "seconds": 2.0, "images_per_second": 100.0}
            for number, value in enumerate(values, 1)
        ]
        best = Objective(metric, "max" if mode == "max" else "min").kept_row(rows)
        record = Record(trial, f"id{trial}", state, source, experiment.to_json(), epochs=rows)
        record.best_epoch = best["epoch"] if best else None
        if replicate_of is not None:
            record.source, record.replicate_of = REPLICATE, replicate_of
        return record

    return make


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'study.db'}"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.new_database()


@pytest.fixture
def notices() -> list[str]:
    return []


@pytest.fixture
def mirror(url: str, spec: Spec, notices: list[str]) -> Iterator[Callable[..., OptunaMirror]]:
    """mirror(*records): one that has begun with these."""
    begun = []

    def begin(*records: Record) -> OptunaMirror:
        optuna_mirror.check(url, NAME, URI, spec, begun=bool(records))
        begun.append(OptunaMirror(url, NAME, URI, spec, notices.append))
        begun[-1].sync(records)
        return begun[-1]

    yield begin
    for one in begun:
        one.close()
