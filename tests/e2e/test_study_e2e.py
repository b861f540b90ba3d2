"""Whole studies, as a user runs them: to the end, interrupted, killed, with broken trials, with two workers."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from own_specs import SEARCHED
from PIL import Image

from study.store import Store
from study.store.records import Record, State, read_record, read_records

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SMALL = (SEARCHED, "--image-size", 64, "--no-report")
ONE_MODEL = ("--set", "search.model=[mobilenetv2_skip]", "--set", "search.encoder_freeze=[false]")
NEVER_STOPPED = ("--set", "early_stopping.scheduler=none")
TIMINGS = {"seconds", "images_per_second"}


def wait_for(reached: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 180) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end, "not reached in time"
        time.sleep(0.1)


def results(record: Record) -> list[dict[str, Any]]:
    """Every epoch, without how long it took."""
    return [{key: value for key, value in row.items() if key not in TIMINGS} for row in record.epochs]


@pytest.fixture(scope="module")
def finished(shell: Any) -> Path:
    """The bundled study with its recipe, five trials of both models, two finalists, a verdict, report."""
    out = shell.study("phantom", "--image-size", 64, "--trials", 5, "--epochs", 3, "--name", "finished")
    assert "5/5 trials" in out
    return shell.storage / "finished"


def test_a_study_runs_to_its_report(shell: Any, finished: Path) -> None:
    rows = pd.read_csv(io.StringIO(shell.run("analysis.table", finished)))
    assert rows["trial"].tolist() == [0, 1, 2, 3, 4]
    assert set(rows["state"]) <= {"COMPLETE", "PRUNED"}
    assert (rows["source"][0], rows["state"][0], rows["epochs"][0]) == ("recipe", "COMPLETE", 3)
    best = rows[rows["state"] == "COMPLETE"].nlargest(2, "val_iou")["trial"]
    assert set(rows.loc[rows["test_native_iou"].notna(), "trial"]) == {0, *best}
    assert (finished / "report.html").stat().st_size > 100_000
    said = shell.run("study.ls", finished)
    assert "finished: phantom (SYNTHETIC)" in said and "The choice is " in said


def test_its_verdict_is_kept_with_the_study(finished: Path) -> None:
    study = json.loads((finished / "study.json").read_text())
    verdict = study["verdict"]
    assert read_record(Store(str(finished)), verdict["trial"]).test is not None
    assert list(study["dataset"]["trivial"])[:2] == ["every pixel background", "every pixel foreground"]
    assert verdict["over_trivial"]["value"] == pytest.approx(verdict["score"] - verdict["trivial_score"])


def test_counts_hold_every_validation_image_once(finished: Path) -> None:
    study, store = json.loads((finished / "study.json").read_text()), Store(str(finished))
    for record in read_records(store):
        counts = pd.read_parquet(finished / record.path("val_counts"))
        assert counts["id"].nunique() == study["dataset"]["images"]["val"]
        assert len(counts) == 2 * counts["id"].nunique()
        assert (counts[["tp", "fp", "fn", "tn"]].sum(axis=1) == 64 * 64).all()
        lesion = counts[counts["class"] == 1]
        union = lesion["tp"] + lesion["fp"] + lesion["fn"]
        iou = (lesion["tp"] / union).where(union > 0, 1.0).mean()
        assert iou == pytest.approx(record.best["val_iou"], abs=1e-12)


def test_only_finalists_keep_weights_and_no_checkpoint_is_left(finished: Path) -> None:
    scored = {r.folder for r in read_records(Store(str(finished))) if r.test}
    assert {str(p.parent.relative_to(finished)) for p in finished.glob("trials/*/best-*.safetensors")} == scored
    assert not list(finished.glob("trials/*/checkpoint*"))


def test_replay_reproduces_the_counts(shell: Any, finished: Path) -> None:
    assert "MATCHED" in shell.run("study.replay", finished, 0)


def test_replay_says_when_a_record_was_tampered_with(shell: Any, finished: Path) -> None:
    path = finished / read_record(Store(str(finished)), 0).path("val_counts")
    kept = path.read_bytes()
    counts = pd.read_parquet(path)
    counts.loc[0, "tp"] += 1
    counts.to_parquet(path, index=False)
    try:
        assert "DIFFERENT: 1 of" in shell.run("study.replay", finished, 0, status=1)
    finally:
        path.write_bytes(kept)


def test_predict_with_a_finished_study(shell: Any, finished: Path, tmp_path: Path) -> None:
    Image.fromarray(np.full((90, 130, 3), 127, np.uint8)).save(tmp_path / "mole.jpg")
    shell.run("seg.predict", finished, tmp_path / "mole.jpg", "--out", tmp_path / "out")
    assert Image.open(tmp_path / "out" / "mole_mask.png").size == (130, 90)
    assert Image.open(tmp_path / "out" / "mole_overlay.png").size == (130, 90)


def test_an_existing_name_is_refused(shell: Any, finished: Path) -> None:
    out = shell.study("phantom", "--name", "finished", status=2)
    assert out.startswith("error: ") and out.count("\n") == 1 and "--resume" in out


def test_interrupted_then_killed_then_resumed(shell: Any) -> None:
    """Finished trials stay, the running one goes on from its last epoch, and ends as if never stopped."""
    arguments = (*SMALL, *ONE_MODEL, *NEVER_STOPPED, "--trials", 3, "--epochs", 4, "--set", "finalists=1")
    folder = shell.storage / "survivor"
    store = Store(str(folder))

    def epochs_of(trial: int) -> int:
        try:
            return len(read_record(store, trial).epochs)
        except FileNotFoundError:
            return 0

    process = shell.start_study(*arguments, "--name", "survivor")
    wait_for(lambda: epochs_of(0) >= 2, process)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 130, out
    assert "--name survivor --resume" in out
    assert read_record(store, 0).state is State.RUNNING

    process = shell.start_study("phantom", "--no-report", "--name", "survivor", "--resume")
    wait_for(lambda: epochs_of(1) >= 2, process)
    process.kill()
    process.wait()
    first = read_record(store, 0)
    assert first.state is State.COMPLETE

    out = shell.study("phantom", "--no-report", "--name", "survivor", "--resume")
    assert "3/3 trials" in out
    records = read_records(store)
    assert [record.state for record in records] == [State.COMPLETE] * 3
    assert all([row["epoch"] for row in record.epochs] == [1, 2, 3, 4] for record in records)
    assert results(records[0]) == results(first)
    for trial in (0, 1):
        assert "MATCHED" in shell.run("study.replay", folder, trial)


def test_the_same_seed_twice_gives_identical_records(shell: Any) -> None:
    found = []
    for name in ("once", "twice"):
        shell.study(*SMALL, *ONE_MODEL, "--trials", 2, "--epochs", 2, "--seed", 5, "--name", name)
        found.append(read_records(Store(str(shell.storage / name))))
    for one, other in zip(*found, strict=True):
        assert results(one) == results(other)
        assert (one.experiment, one.state, one.best_epoch, one.test) == (
            other.experiment,
            other.state,
            other.best_epoch,
            other.test,
        )


def test_a_lane_in_the_study_s_process_gives_the_records_of_one_under_ray(shell: Any) -> None:
    """Paused and promoted trials, a second seed of the best, and scores on the test split included."""
    promoting = ("--set", "early_stopping={scheduler: promoting_asha, min_epochs: 1, reduction_factor: 2}")
    arguments = (*SMALL, *promoting, "--trials", 5, "--epochs", 4, "--set", "finalists={top: 1, seeds: 2}")
    shell.study(*arguments, "--name", "with-ray")
    out = on_two_cores("study.run", *arguments, "--storage", shell.storage, "--lanes", "in-process", "--name", "no-ray")
    assert "a lane in this process" in out and "Ray dashboard" not in out
    ray, own = (comparable(shell.storage / name) for name in ("with-ray", "no-ray"))
    assert own == ray and {state for *_, state in ray} == {State.COMPLETE, State.PRUNED}


def on_two_cores(module: str, *arguments: object) -> str:
    """The output of a command with as many threads as a lane of the tests' Ray has."""
    cores = ",".join(map(str, sorted(os.sched_getaffinity(0))[:2]))
    command = ["taskset", "-c", cores, sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def comparable(study: Path) -> list[tuple[Any, ...]]:
    return [_comparable(study, record) for record in read_records(Store(str(study)))]


def _comparable(study: Path, record: Record) -> tuple[Any, ...]:
    """All of a record but names and times, with the counts of every validation image."""
    counts = record.files.get("val_counts")
    images = pd.read_parquet(study / record.folder / counts).to_json() if counts else ""
    same = (record.trial, record.source, record.experiment, record.best_epoch, record.test, record.replicate_of)
    return (*same, results(record), images, sorted(record.files), record.reason, record.state)


def test_a_diverging_trial_is_recorded_and_the_study_goes_on(shell: Any, tmp_path: Path) -> None:
    spec = tmp_path / "diverging.yaml"
    spec.write_text(
        """
description: a baseline that diverges
dataset: phantom
image_size: 64
trials: 2
epochs: 2
early_stopping: {scheduler: none}
encoder: {weights: none}
fixed: {batch_size: 16}
search: {model: mobilenetv2_skip, loss: bce, encoder_freeze: [false], encoder_lr: 1e-4, decoder_lr: 1e-3}
baselines:
  - name: too fast
    model: mobilenetv2_skip
    loss: bce
    encoder_freeze: false
    encoder_lr: 1e+30
    decoder_lr: 1e+30
    batch_size: 16
    optimizer: adam
    weight_decay: 0.0
    schedule: constant
    augment: none
    normalize: imagenet
"""
    )
    out = shell.study(spec, "--name", "diverging", "--no-report")
    failed, good = read_records(Store(str(shell.storage / "diverging")))
    assert failed.state is State.FAILED and "training loss is" in failed.reason and "Diverged" in failed.traceback
    assert failed.source == "too fast" and failed.test is None
    assert good.state is State.COMPLETE and good.test is not None
    assert "trial 0 FAILED: training loss is" in out


def test_two_workers_and_the_death_of_one(shell: Any) -> None:
    """DDP on a lane; one rank killed mid-trial: the trial goes on from its last epoch on a new lane."""
    arguments = (*SMALL, *ONE_MODEL, *NEVER_STOPPED, "--trials", 1, "--epochs", 4, "--workers-per-trial", 2)
    store = Store(str(shell.storage / "pair"))
    process = shell.start_study(*arguments, "--name", "pair", "--set", "finalists=1")
    wait_for(lambda: "trials" in store.names("") and any(len(r.epochs) >= 2 for r in read_records(store)), process)
    os.kill(train_workers()[0], signal.SIGKILL)
    out, _ = process.communicate(timeout=200)
    assert process.returncode == 0, out
    record = read_record(store, 0)
    assert record.state is State.COMPLETE and record.workers == 2
    assert [row["epoch"] for row in record.epochs] == [1, 2, 3, 4]
    counts = pd.read_parquet(shell.storage / "pair" / record.path("val_counts"))
    assert counts["id"].value_counts().eq(2).all()


def train_workers() -> list[int]:
    """Process ids of the ranks, which Ray names so; only those below this process, whose Ray it is."""
    from memory import family

    found = []
    for pid in family(os.getpid()):
        try:
            name = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if b"RayTrainWorker" in name:
            found.append(pid)
    return sorted(found)
