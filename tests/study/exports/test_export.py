"""A study in other tools, read back by those tools' own readers."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import load
from seg.experiment import Experiment
from study import export
from study.store import Store
from study.store.records import Record, State, write_record

BEGUN = 1767225600.0  # 2026-01-01T00:00:00Z
FINISHED = {State.COMPLETE: "2026-01-01T00:10:00+00:00"}


def experiment(trial: int) -> Experiment:
    """Trial 1 has a loss with a parameter, the others a frozen encoder."""
    weighted = trial == 1
    return Experiment(
        dataset="phantom",
        image_size=64,
        model="mobilenetv2_plain",
        loss="dice_bce" if weighted else "bce",
        loss_parameters={"dice_weight": 0.25} if weighted else {},
        epochs=9,
        decoder_lr=0.001,
        encoder_lr=0.0001 if weighted else None,
        encoder_freeze=not weighted,
    )


def row(epoch: int, iou: float | None) -> dict[str, Any]:
    row = {"epoch": epoch, "train_loss": 1 / epoch, "val_loss": 2.0, "val_iou": iou, "val_dice": iou}
    return row | {"val_pixel_accuracy": 0.9, "seconds": 2.0, "encoder_lr": None, "decoder_lr": 0.001}


def record(trial: int, state: State, ious: list[float | None], **fields: Any) -> Record:
    rows = [row(epoch, iou) | {"images_per_second": 50.0} for epoch, iou in enumerate(ious, 1)]
    made = Record(trial, f"id{trial}", state, "search", experiment(trial).to_json(), epochs=rows)
    made.started, made.finished = "2026-01-01T00:00:00+00:00", FINISHED.get(state, "")
    scored = [(iou, epoch) for epoch, iou in enumerate(ious, 1) if iou is not None]
    made.best_epoch = max(scored)[1] if scored else None
    return replace(made, **fields)


RECORDS = [
    record(0, State.COMPLETE, [0.5, 0.75, 0.625], test={"iou": 0.7, "native_iou": 0.71}, source="R1 <baseline>"),
    record(1, State.PRUNED, [0.25, None], reason="behind at epoch 2"),
    record(2, State.FAILED, [], reason="training loss is nan", traceback="Traceback ..."),
    record(3, State.RUNNING, [0.5]),
]


def write_study(uri: str, records: list[Record], name: str = "small") -> None:
    store = Store(uri)
    study = {"format": 1, "name": name, "created": "2026-01-01T00:00:00+00:00", "finished": "", "software": {}}
    store.write_json("study.json", study | {"spec": {"objective": {"metric": "val_iou", "mode": "max"}}})
    for one in records:
        write_record(store, one)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of four trials; the working folder is an empty one."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    write_study(str(tmp_path / "small"), RECORDS)
    return tmp_path / "small"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# Tables


def test_csv_is_what_the_table_says(study: Path) -> None:
    assert export.main([str(study), "--to", "csv"]) == 0
    out = Path("small-csv")
    assert sorted(contents(out)) == ["epochs.csv", "export.json", "trials.csv"]
    with (out / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == load.trials(str(study)).columns.tolist()
    assert [r["state"] for r in rows] == ["COMPLETE", "PRUNED", "FAILED", "RUNNING"]
    assert [r["val_iou"] for r in rows] == ["0.75", "0.25", "", "0.5"] and rows[0]["test_native_iou"] == "0.71"
    with (out / "epochs.csv").open() as file:
        epochs = [(r["trial"], r["epoch"], r["val_iou"]) for r in csv.DictReader(file)]
    assert epochs == [("0", "1", "0.5"), ("0", "2", "0.75"), ("0", "3", "0.625"), ("1", "1", "0.25"), ("1", "2", ""),
                      ("3", "1", "0.5")]  # fmt: skip


def test_parquet_keeps_types_and_nothing_of_the_study_beside_the_table(study: Path, tmp_path: Path) -> None:
    assert export.main([str(study), "--to", "parquet", "--out", str(tmp_path / "p")]) == 0
    trials, epochs = (pd.read_parquet(tmp_path / "p" / f"{name}.parquet") for name in ("trials", "epochs"))
    pd.testing.assert_frame_equal(trials, load.trials(str(study)), check_dtype=True)
    assert trials["best_epoch"].dtype == "Int64" and trials["encoder_freeze"].dtype == "boolean" and not trials.attrs
    assert len(epochs) == 6 and epochs.columns.tolist()[:2] == ["trial", "epoch"]


# TensorBoard


def scalars(run: Path) -> dict[str, list[tuple[float, int, float]]]:
    """(wall time, step, value) by tag, as TensorBoard's own reader has them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(run), size_guidance={"scalars": 0})
    accumulator.Reload()
    return {
        tag: [(float(e.wall_time), int(e.step), float(e.value)) for e in accumulator.Scalars(tag)]
        for tag in accumulator.Tags()["scalars"]
    }


def test_tensorboard_has_a_run_a_trial_with_scalars_by_epoch(study: Path) -> None:
    assert export.main([str(study), "--to", "tensorboard"]) == 0
    runs = {path.name: scalars(path) for path in Path("small-tensorboard").glob("trial-*")}
    assert sorted(runs) == ["trial-00000", "trial-00001", "trial-00002", "trial-00003"]
    read = runs["trial-00000"]
    assert read["val_iou"] == [(BEGUN + 2, 1, 0.5), (BEGUN + 4, 2, 0.75), (BEGUN + 6, 3, 0.625)]
    assert [(step, value) for _, step, value in read["best/val_iou"]] == [(2, 0.75)]
    assert [value for _, _, value in read["test/native_iou"]] == [np.float32(0.71)]
    assert [step for _, step, _ in runs["trial-00001"]["val_iou"]] == [1]  # the second was no number
    assert runs["trial-00002"] == {}


def session_groups(folder: Path) -> dict[str, Any]:
    """What the server of the HPARAMS tab answers, by group: states, parameters, scores."""
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

    multiplexer = EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    provider = MultiplexerDataProvider(multiplexer, str(folder))
    tab = backend_context.Context(TBContext(data_provider=provider, logdir=str(folder)))
    context = RequestContext()
    metadata = tab.hparams_metadata(context, "")
    experiment = tab.experiment_from_metadata(context, "", True, metadata, [])
    statuses = api_pb2.Status.values()
    wanted = api_pb2.ListSessionGroupsRequest(allowed_statuses=statuses, slice_size=100)
    answer = list_session_groups.Handler(context, tab, "", wanted).run()
    return {"experiment": experiment, "groups": answer.session_groups}


def plain(value: Any) -> Any:
    kind = value.WhichOneof("kind")
    return getattr(value, kind)


def test_tensorboards_hparams_tab_has_every_column_and_the_final_scores(study: Path) -> None:
    assert export.main([str(study), "--to", "tensorboard"]) == 0
    read = session_groups(Path("small-tensorboard"))
    columns = {info.name: info for info in read["experiment"].hparam_infos}
    assert columns["loss_dice_weight"].domain_interval.max_value == 0.25
    assert [plain(value) for value in columns["loss"].domain_discrete.values] == ["bce", "dice_bce"]
    assert [info.name.tag for info in read["experiment"].metric_infos] == [
        "best/val_loss", "best/val_iou", "best/val_dice", "best/val_pixel_accuracy", "test/iou", "test/native_iou"
    ]  # fmt: skip
    groups = {group.name: group for group in read["groups"]}
    assert sorted(groups) == [f"trial {trial}" for trial in range(4)]
    first, second = groups["trial 0"], groups["trial 1"]
    assert {m.name.tag: m.value for m in first.metric_values}["best/val_iou"] == 0.75
    told = {name: plain(value) for name, value in first.hparams.items()}
    assert told["encoder_freeze"] is True and told["model"] == "mobilenetv2_plain" and told["source"] == "R1 <baseline>"
    assert plain(second.hparams["loss_dice_weight"]) == 0.25 and "encoder_lr" not in told
    assert [groups[f"trial {trial}"].sessions[0].status for trial in range(4)] == [1, 1, 2, 3]  # the last runs


# MLflow


def runs_of(address: str, name: str = "small") -> dict[str, Any]:
    """By trial; and how many there are."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=address)
    experiment = client.get_experiment_by_name(name)
    found = client.search_runs([experiment.experiment_id])
    assert len({run.data.tags["trial"] for run in found}) == len(found)
    return {run.data.tags["trial"]: run for run in found} | {"client": client}


@pytest.fixture
def database(tmp_path: Path) -> str:
    folder = tmp_path / "m"
    return f"sqlite:///{folder / 'mlflow.db'}"


def test_mlflow_has_a_run_a_trial(study: Path, tmp_path: Path, database: str) -> None:
    assert export.main([str(study), "--to", "mlflow", "--out", str(tmp_path / "m")]) == 0
    runs = runs_of(database)
    client = runs.pop("client")
    assert [runs[str(trial)].info.status for trial in range(4)] == ["FINISHED", "KILLED", "FAILED", "RUNNING"]
    first, second = runs["0"], runs["1"]
    assert (first.data.tags["id"], first.data.tags["state"], first.data.tags["source"]) == (
        "id0", "COMPLETE", "R1 <baseline>"
    )  # fmt: skip
    assert second.data.tags["reason"] == "behind at epoch 2" and second.data.params["loss_dice_weight"] == "0.25"
    assert first.data.params["encoder_freeze"] == "True" and first.data.params["seed"] == "0"
    assert (first.info.start_time, first.info.end_time) == (BEGUN * 1000, (BEGUN + 600) * 1000)
    history = client.get_metric_history(first.info.run_id, "val_iou")
    assert [(m.step, m.value) for m in history] == [(1, 0.5), (2, 0.75), (3, 0.625)]
    assert first.data.metrics["best/val_iou"] == 0.75 and first.data.metrics["test/iou"] == 0.7


def test_mlflow_goes_to_the_server_where_one_is_named(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'server.db'}")
    assert export.main([str(study), "--to", "mlflow"]) == 0
    assert len(runs_of(f"sqlite:///{tmp_path / 'server.db'}")) == 4 + 1
    assert list(Path().iterdir()) == [] or list(Path().iterdir()) == [Path("mlruns")]
    assert "server.db, experiment small" in capsys.readouterr().out


def test_mlflow_leaves_anothers_experiment_alone(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mlflow.tracking import MlflowClient

    address = f"sqlite:///{tmp_path / 'server.db'}"
    MlflowClient(tracking_uri=address).create_experiment("small")
    capsys.readouterr()  # it says that it makes tables
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    assert export.main([str(study), "--to", "mlflow"]) == 2
    assert one_error(capsys).startswith("error: small: MLflow has another experiment of this name")


def test_mlflow_that_is_not_there_is_one_line_without_its_password(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql+psycopg://me:hush@127.0.0.1:9/none?connect_timeout=1")
    monkeypatch.setenv("MLFLOW_SQLALCHEMYSTORE_MAX_RETRIES", "0")
    monkeypatch.setattr("mlflow.store.db.utils.MAX_RETRY_COUNT", 1)
    assert export.main([str(study), "--to", "mlflow"]) == 2
    error = one_error(capsys)
    assert error.startswith("error: postgresql+psycopg://me:***@127.0.0.1:9/none") and "hush" not in error


# All of them

EVERY = ["csv", "parquet", "tensorboard", "mlflow"]


def one_error(capsys: pytest.CaptureFixture[str]) -> str:
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("error: ") and printed.err.count("\n") == 1
    return printed.err


@pytest.mark.parametrize("to", ["csv", "parquet", "tensorboard"])
def test_twice_is_as_once(study: Path, tmp_path: Path, to: str) -> None:
    assert export.main([str(study), "--to", to, "--out", str(tmp_path / "a")]) == 0
    first = contents(tmp_path / "a")
    assert export.main([str(study), "--to", to, "--out", str(tmp_path / "a")]) == 0
    assert contents(tmp_path / "a") == first


def go_on(study: Path) -> None:
    """Trial 3 ends, trial 2 runs again from its start, trial 4 begins."""
    store = Store(str(study))
    write_record(store, record(3, State.COMPLETE, [0.5, 0.6]))
    write_record(store, record(2, State.RUNNING, [0.125], started="2026-01-02T00:00:00+00:00"))
    write_record(store, record(4, State.RUNNING, []))


def test_tensorboard_is_brought_up_to_date(study: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert export.main([str(study), "--to", "tensorboard", "--out", str(tmp_path / "a")]) == 0
        go_on(study)
    runs = {path.name: scalars(path) for path in (tmp_path / "a").glob("trial-*")}
    assert [step for _, step, _ in runs["trial-00003"]["val_iou"]] == [1, 2]
    assert [value for _, _, value in runs["trial-00003"]["best/val_iou"]] == [np.float32(0.6)]
    assert [value for _, _, value in runs["trial-00002"]["val_iou"]] == [0.125]
    assert all(len(list(path.iterdir())) == 1 for path in (tmp_path / "a").glob("trial-*")) and len(runs) == 5


def test_mlflow_is_brought_up_to_date(study: Path, tmp_path: Path, database: str) -> None:
    for step in range(3):
        assert export.main([str(study), "--to", "mlflow", "--out", str(tmp_path / "m")]) == 0
        if step == 0:
            before = runs_of(database)
            go_on(study)
    after = runs_of(database)
    client = after.pop("client")
    assert sorted(after) == ["0", "1", "2", "3", "4"]
    assert after["3"].info.run_id == before["3"].info.run_id and after["3"].info.status == "FINISHED"
    assert after["2"].info.run_id != before["2"].info.run_id and after["2"].info.status == "RUNNING"
    steps = {
        trial: [m.step for m in client.get_metric_history(run.info.run_id, "val_iou")] for trial, run in after.items()
    }
    assert steps == {"0": [1, 2, 3], "1": [1], "2": [1], "3": [1, 2], "4": []}


@pytest.mark.parametrize("to", EVERY)
def test_a_folder_of_others_is_left_alone(
    study: Path, tmp_path: Path, to: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "trials.csv").write_text("precious")
    assert export.main([str(study), "--to", to, "--out", str(tmp_path / "mine")]) == 2
    assert "holds files that are not this command's; name another with --out" in one_error(capsys)
    assert contents(tmp_path / "mine") == {"trials.csv": b"precious"}


def test_an_export_of_another_study_or_format_is_left_alone(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_study(str(tmp_path / "other"), RECORDS, name="other")
    assert export.main([str(tmp_path / "other"), "--to", "csv", "--out", "a"]) == 0
    capsys.readouterr()
    before = contents(Path("a"))
    assert export.main([str(study), "--to", "csv", "--out", "a"]) == 2
    assert "holds another export (other 2026-01-01T00:00:00+00:00 to csv)" in one_error(capsys)
    assert export.main([str(tmp_path / "other"), "--to", "parquet", "--out", "a"]) == 2
    assert contents(Path("a")) == before


def test_a_file_in_the_way_is_one_line(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a").write_text("x")
    assert export.main([str(study), "--to", "csv", "--out", "a"]) == 2
    assert one_error(capsys) == "error: a: cannot be written (File exists); name another folder with --out\n"


def test_no_study_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export.main([str(tmp_path / "none"), "--to", "csv"]) == 2
    assert "no study here" in one_error(capsys)


@pytest.mark.parametrize(("to", "package"), [("tensorboard", "tensorboardX"), ("mlflow", "mlflow")])
def test_a_package_that_is_not_installed_is_named(
    study: Path, to: str, package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys

    for name in [name for name in sys.modules if name.startswith(("study.exports.tensor", "study.exports.mlflow"))]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("study.exports.tensorboard", *(name for name in sys.modules if name.split(".")[0] == package)):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    assert export.main([str(study), "--to", to]) == 2
    assert f"--to {to}: {package}" in (error := one_error(capsys)) and "pip install 'segstudy[export]'" in error


@pytest.mark.parametrize("to", EVERY)
def test_a_study_that_has_not_begun_a_trial(tmp_path: Path, to: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    write_study(str(tmp_path / "small"), [])
    assert export.main([str(tmp_path / "small"), "--to", to, "--out", str(tmp_path / "a")]) == 0


@pytest.mark.parametrize("name", ["../../up", "/abs", "a\\b", "..", ""])
def test_a_name_that_leads_elsewhere_makes_no_folder(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    write_study(str(tmp_path / "small"), RECORDS, name=name)
    before = sorted(tmp_path.rglob("*"))
    assert export.main([str(tmp_path / "small"), "--to", "csv"]) == 2
    assert "names the study" in one_error(capsys) and sorted(tmp_path.rglob("*")) == before


def test_from_s3(s3_server: Any, tmp_path: Path, study: Path) -> None:
    uri = "s3://studies/exported"
    write_study(uri, RECORDS)
    for to in ("csv", "tensorboard"):
        assert export.main([uri, "--to", to, "--out", str(tmp_path / to)]) == 0
        assert export.main([str(study), "--to", to, "--out", str(tmp_path / f"{to}-local")]) == 0
        remote, local = contents(tmp_path / to), contents(tmp_path / f"{to}-local")
        assert remote == local
    shutil.rmtree(tmp_path / "csv")


def test_the_marker_says_whose_the_folder_is(study: Path) -> None:
    assert export.main([str(study), "--to", "csv", "--out", "a"]) == 0
    found = json.loads(Path("a/export.json").read_text())
    assert (found["made_by"], found["study"], found["to"]) == ("study.export", "small 2026-01-01T00:00:00+00:00", "csv")
