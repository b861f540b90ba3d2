"""What goes wrong with a trial is recorded, the study goes on, and study.retry runs it again."""

import os
import signal
import threading
import time
from pathlib import Path
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


def test_a_worker_that_is_told_to_end_saves_first(ray_address: str, tmp_path: Path) -> None:
    """As on a spot instance that is taken away: SIGTERM to a worker of Ray Train, in the middle of its work."""
    import ray.train.torch

    from study.sigterm import SavingTorchConfig

    def work(config: dict[str, Any]) -> None:
        import os
        import time
        from pathlib import Path

        from study import sigterm

        def save() -> None:
            time.sleep(2)
            Path(config["folder"], "saved").touch()

        sigterm.before_the_end(save)
        Path(config["folder"], "pid").write_text(str(os.getpid()))
        time.sleep(60)

    trainer = ray.train.torch.TorchTrainer(
        work,
        train_loop_config={"folder": str(tmp_path)},
        torch_config=SavingTorchConfig(),
        scaling_config=ray.train.ScalingConfig(num_workers=1),
        run_config=ray.train.RunConfig(storage_path=str(tmp_path / "scratch")),
    )
    ended: list[type[BaseException]] = []

    def fit() -> None:
        try:
            trainer.fit()
        except ray.train.TrainingFailedError as error:
            ended.append(type(error))

    thread = threading.Thread(target=fit)
    thread.start()
    pid = tmp_path / "pid"
    while not (pid.exists() and pid.read_text()):
        assert thread.is_alive()
        time.sleep(0.1)
    os.kill(int(pid.read_text()), signal.SIGTERM)
    thread.join(40)
    assert ended == [ray.train.WorkerGroupError] and (tmp_path / "saved").exists()
