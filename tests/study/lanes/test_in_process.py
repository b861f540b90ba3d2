"""A lane in the study's own process: no Ray, and everything that a study survives."""

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from own_specs import SEARCHED

from study.lanes import in_process
from study.lanes.in_process import Standstill
from study.lanes.resources import LanesError
from study.ranking.objective import Objective
from study.search.search import Search
from study.spec import load_spec
from study.store import Store, StoreError
from study.store.records import State, read_record, read_records
from study.trials.messages import EpochDone, Failure, LaneSettings, Started, StartTrial
from study.trials.recorder import Recorder

ROOT = Path(__file__).parents[3]
RUN = "import sys, study.run; code = study.run.main(sys.argv[1:]); assert 'ray' not in sys.modules; sys.exit(code)"
SMALL = (SEARCHED, "--lanes", "in-process", "--trials", "1", "--epochs", "3", "--no-report")


def start(storage: Path, *arguments: str) -> subprocess.Popen[str]:
    """A study in a process that fails if it imports Ray. It has one core: other tests may be using the others."""
    core = str(max(os.sched_getaffinity(0)))
    command = ["taskset", "-c", core, sys.executable, "-c", RUN, *arguments, "--storage", str(storage), "--name", "own"]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def ended(process: subprocess.Popen[str], status: int) -> str:
    out, _ = process.communicate(timeout=300)
    assert process.returncode == status, out
    return out


def epochs_of(storage: Path) -> int:
    try:
        return len(read_record(Store(str(storage / "own")), 0).epochs)
    except FileNotFoundError:
        return 0


@pytest.mark.slow
def test_interrupted_and_resumed_it_trains_no_epoch_again(tmp_path: Path) -> None:
    process, end = start(tmp_path, *SMALL), time.monotonic() + 200
    while epochs_of(tmp_path) < 1 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out = ended(process, 130)
    assert "a lane in this process" in out and "Ray" not in out
    assert "--resume" in out and "sending the last checkpoint" in out
    store = Store(str(tmp_path / "own"))
    interrupted = read_record(store, 0)
    sent = [name for name in store.names(interrupted.folder) if name.startswith("checkpoint-")]
    assert [name.split("-")[1] for name in sent] == [f"{len(interrupted.epochs):05d}"]
    assert "1/1 trials" in ended(start(tmp_path, "phantom", "--lanes", "in-process", "--no-report", "--resume"), 0)
    (record,) = read_records(store)
    assert record.epochs[: len(interrupted.epochs)] == interrupted.epochs and len(record.epochs) == 3


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (("--workers-per-trial", "2"), "--workers-per-trial 2: a lane in this process has one; for more: --lanes auto"),
        (("--address", "auto"), "--address auto: the lane is in this process; to train on a cluster: --lanes auto"),
        (("--lanes", "outside"), "resources.lanes: 'outside' given; must be auto, in-process or a number of lanes"),
    ],
)
def test_what_one_process_cannot_do_is_refused(tmp_path: Path, more: tuple[str, ...], problem: str) -> None:
    out = ended(start(tmp_path, *SMALL, *more), 2)
    assert out.startswith("error: ") and problem in out


class ScriptedWorker:
    """Answers commands from a list, and keeps the commands."""

    def __init__(self, *answers: Any):
        self.answers, self.commands = [*answers], list[Any]()

    def answer(self, command: Any) -> Any:
        self.commands.append(command)
        return self.answers.pop(0)


STARTED = Started("cpu", 1, 0, 0.0, {})


def epoch(number: int) -> EpochDone:
    return EpochDone({"epoch": number})


def failure(out_of_memory: bool) -> Failure:
    return Failure(State.INFEASIBLE if out_of_memory else State.FAILED, "it failed", "", True, out_of_memory)


def reports(*answers: Any) -> tuple[list[tuple[Any, bool, bool]], list[int]]:
    """Outcome, `done`, and whether the trial was begun, of each report; the microbatches of each start."""
    worker: Any = ScriptedWorker(*answers)
    found = list(in_process._reports(worker, StartTrial(3, {"epochs": 2}), "lane"))
    assert all(bool(report.lane) == bool(report.started) for report in found)
    starts = [command.microbatches for command in worker.commands if isinstance(command, StartTrial)]
    return [(report.outcome, report.done, report.started is not None) for report in found], starts


def test_a_trial_that_runs_out_of_memory_is_trained_with_half_the_microbatch() -> None:
    found, starts = reports(STARTED, epoch(1), failure(True), STARTED, epoch(2))
    assert found == [(epoch(1), False, True), (epoch(2), True, True)] and starts == [1, 2]
    found, starts = reports(failure(True), STARTED, failure(True))
    assert found == [(failure(True), True, True)] and starts == [1, 2]


def test_any_other_failure_ends_the_trial() -> None:
    assert reports(failure(False)) == ([(failure(False), True, False)], [1])
    found, starts = reports(STARTED, epoch(1), failure(False))
    assert found == [(epoch(1), False, True), (failure(False), True, False)] and starts == [1]


def test_a_gpu_that_fails_ends_the_study() -> None:
    store, search = Store(f"memory://{uuid.uuid4().hex}"), Search(load_spec(SEARCHED), [])
    settings = LaneSettings(store.uri, "pack", None, Objective("val_iou", "max"), 1, 1.0, 1)
    recorder = Recorder(store, settings, [], search, lambda records: [*records], lambda record: None)
    proposal = search.next()
    assert proposal
    broken = Failure(State.FAILED, "CUDA error: illegal address", "", lane_lives=False)
    worker: Any = ScriptedWorker(STARTED, broken)
    with pytest.raises(LanesError, match="cannot use its GPU any more: CUDA error: illegal address"):
        in_process._train(worker, recorder, proposal, "lane")
    recorder.close()
    assert recorder.records[proposal.trial].state is State.FAILED


def test_a_standstill_is_told_once_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    now = [0.0]
    monkeypatch.setattr(in_process.time, "monotonic", lambda: now[0])
    standstill = Standstill(60.0, told.append)
    for seconds, stack in (
        (50.0, "in loss.py"),
        (61.0, "in loss.py"),
        (70.0, "in loss.py"),
        (80.0, ""),
        (100.0, "again"),
    ):
        now[0] = seconds
        standstill(stack)
    assert len(told) == 1 and "no step for 60 s" in told[0] and "in loss.py" in told[0]


def test_the_study_ends_with_the_error_of_a_tick() -> None:
    """Between two steps, and not as a failure of the trial."""

    def tick() -> None:
        raise StoreError("the store is gone")

    pulse = in_process.OwnPulse(lambda stack: None, tick)
    pulse._ticked -= 2 * in_process.TICK_SECONDS
    with pytest.raises(in_process.Ended, match="the store is gone") as caught:
        pulse.beat()
    pulse.end()
    assert not isinstance(caught.value, Exception) and isinstance(caught.value.why, StoreError)
