"""What goes wrong with a trial is recorded, the study goes on, and study.retry runs it again."""

import os
import signal
from typing import Any

import pytest
from test_study_e2e import NEVER_STOPPED, ONE_MODEL, SMALL, train_workers, wait_for

from study.records import State, read_records
from study.store import Store

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_a_standstill_is_ended_and_run_again(shell: Any) -> None:
    """A rank that is stopped as a debugger stops it: no step, no exception, no exit."""
    arguments = (*SMALL, *ONE_MODEL, *NEVER_STOPPED, "--trials", 2, "--epochs", 3)
    folder = shell.storage / "standstill"
    store = Store(str(folder))
    process = shell.start_study(*arguments, "--name", "standstill", "--set", "resources.hang_minutes=0.25")
    wait_for(lambda: any(record.epochs for record in read_records(store)), process)
    os.kill(train_workers()[0], signal.SIGSTOP)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    stopped, other = read_records(store)
    assert stopped.state is State.FAILED and stopped.reason.startswith("no step for "), stopped
    assert other.state is State.COMPLETE and other.test is not None
    assert store.names(stopped.folder)[0] == "record.json" and stopped.epochs

    out = shell.run("study.retry", folder, "--failed", "--address", shell.address, "--no-report")
    assert "again: trials 0" in out
    stopped, other = read_records(store)
    assert stopped.state is State.COMPLETE and [row["epoch"] for row in stopped.epochs] == [1, 2, 3]
    assert stopped.extra["attempts"][0]["reason"].startswith("no step for ")
    assert "no such trial; nothing to run again" in shell.run("study.retry", folder, "--failed")
