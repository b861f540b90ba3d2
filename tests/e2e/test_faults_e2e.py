"""What goes wrong with a trial is recorded, the study goes on, and study.retry runs it again."""

import os
import re
import signal
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from test_study_e2e import NEVER_STOPPED, ONE_MODEL, SMALL, train_workers, wait_for

from study.store import Store
from study.store.records import State, read_records

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_a_standstill_is_ended_and_run_again(shell: Any) -> None:
    """A rank that is stopped as a debugger stops it: no step, no exception, no exit."""
    arguments = (*SMALL, *ONE_MODEL, *NEVER_STOPPED, "--trials", 2, "--epochs", 3)
    folder = shell.storage / "standstill"
    store = Store(str(folder))
    process = shell.start_study(*arguments, "--name", "standstill", "--set", "resources.hang_minutes=0.4")
    wait_for(lambda: any(record.epochs for record in read_records(store)), process)
    os.kill(train_workers()[0], signal.SIGSTOP)
    assert_shown_by_ray("standstill", process)
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


def assert_shown_by_ray(study: str, process: Any) -> None:
    """What a person sees on Ray's dashboard and in its metrics while the first trial runs."""
    import ray.util.state

    dashboard = f"http://{ray.worker.global_worker.node.webui_url}"
    lanes = [actor.name for actor in ray.util.state.list_actors(dashboard, filters=[("state", "=", "ALIVE")])]
    assert f"{study}-lane-0" in lanes
    lane = f'segstudy_lane_trial{{study="{study}",lane="{study}-lane-0"}} 0.0'
    wait_for(lambda: lane in metrics(), process)  # Ray exports them every ten seconds
    assert f'segstudy_trials{{study="{study}",state="RUNNING"}} 1.0' in metrics()
    assert f'segstudy_best_score{{study="{study}",metric="val_iou"}} 0.' in metrics()
    tasks = ray.util.state.list_tasks(dashboard, filters=[("state", "=", "RUNNING")])
    assert any(re.fullmatch(rf"{study}-lane-0: trial 0, epoch \d of 3", task.name) for task in tasks)


def metrics() -> str:
    """Of all that Ray exports: ours, without the labels that Ray adds."""
    import ray

    lines = []
    for node in ray.nodes():
        with urllib.request.urlopen(f"http://127.0.0.1:{node['MetricsExportPort']}/metrics", timeout=5) as answer:
            lines += answer.read().decode().splitlines()
    found = []
    for line in lines:
        if match := re.fullmatch(r"ray_(segstudy_\w+)\{(.*)\} (\S+)", line):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', match[2]))
            kept = ",".join(f'{key}="{labels[key]}"' for key in ("study", "state", "metric", "lane") if key in labels)
            found.append(f"{match[1]}{{{kept}}} {match[3]}")
    return "\n".join(found)


def test_workers_that_find_no_room_are_not_dead(ray_address: str, tmp_path: Path) -> None:
    from study.lanes.worker_group import NoRoom, WorkerGroup
    from study.ranking.objective import Objective
    from study.trials.messages import LaneSettings, StartTrial

    more_than_there_is = LaneSettings(
        str(tmp_path), "", None, Objective("val_iou", "max"), 1, 0.0, 1, cores=99, room_seconds=2.0, study="crowded"
    )
    group = WorkerGroup(more_than_there_is, str(tmp_path / "scratch"))
    assert group.name == "crowded-lane-0"
    with pytest.raises(NoRoom):
        group.answer(group.post(StartTrial(0, {})), "waiting")
    group.abandon()


def test_a_worker_that_is_told_to_end_saves_first(ray_address: str, tmp_path: Path) -> None:
    """As on a spot instance that is taken away: SIGTERM to a worker of Ray Train, in the middle of its work."""
    import ray.train.torch

    from study.lanes.sigterm import SavingTorchConfig

    def work(config: dict[str, Any]) -> None:
        import os
        import time
        from pathlib import Path

        from study.lanes import sigterm

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
