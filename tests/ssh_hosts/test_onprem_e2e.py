"""`ray up` of clusters/onprem.yaml on hosts of their own; studies over its nodes; nodes that vanish and that join."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from namespaced_host import NamespacedHost
from onprem import TOKEN, Onprem
from own_specs import SEARCHED_BELOW_ROOT
from watch import Watch

from study import spot_notice
from study.store.records import State

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(600)]

STORAGE = "s3://studies/lab"
ENDED = {str(state) for state in State if state.ended}
SMALL_STUDY = ["--image-size", "64", "--epochs", "3", "--no-report"]
NEVER_STOPPED = ["--set", "early_stopping.scheduler=none"]
LANES_UP = 240
"""Seconds. A quarter of it on two cores that have nothing else to do."""


@contextmanager
def study(onprem: Onprem, name: str, log: Path, *options: str) -> Iterator["subprocess.Popen[str]"]:
    """A job, stopped at the end: what it holds is free for the next one."""
    where = ["--storage", STORAGE, "--name", name, "--address", "auto"]
    job = onprem.submit(name, log, "python", "-m", "study.run", SEARCHED_BELOW_ROOT, *where, *SMALL_STUDY, *options)
    try:
        yield job
    finally:
        if job.poll() is None:
            onprem.stop_job(name)


def nodes_of(trials: list[dict[str, Any]]) -> set[str]:
    return {node for trial in trials for node in trial["nodes"]}


def status(job: "subprocess.Popen[str]", log: Path, seconds: float = LANES_UP) -> tuple[int, str]:
    """The job's exit status, and all that it printed."""
    job.wait(seconds)
    return job.returncode, log.read_text()


def test_a_plan_counts_the_cluster_s_lanes(onprem: Onprem, log: Path) -> None:
    with study(onprem, "plan", log, "--dry-run") as job:
        code, printed = status(job, log)
    assert code == 0, printed
    assert re.search(r"^machines +2 CPU cores and no GPUs on 3 nodes$", printed, re.MULTILINE), printed
    assert re.search(r"^lanes +2 lanes of 1 worker, 1 CPU thread a worker$", printed, re.MULTILINE), printed


def test_a_folder_that_the_nodes_do_not_see_is_refused(onprem: Onprem, log: Path) -> None:
    with study(onprem, "blind", log, "--storage", "/root/studies") as job:
        code, printed = status(job, log)
    assert code != 0 and "does not see this folder" in printed, printed


def test_a_study_outlives_a_node(onprem: Onprem, log: Path) -> None:
    victim = onprem.hosts[2]
    with (
        study(onprem, "outlives", log, *NEVER_STOPPED, "--trials", "4", "--epochs", "4") as job,
        onprem.records(f"{STORAGE}/outlives", job) as records,
    ):

        def trained(trials: list[dict[str, Any]]) -> dict[str, Any]:
            """A trial that is on the victim, with two epochs behind it; nothing where there is none. Its newest
            checkpoint is stored, or the one before: on a busy machine a storage may need longer than an epoch."""
            there = (t for t in trials if victim.name in t["nodes"] and t["state"] == "RUNNING")
            return next((trial for trial in there if trial["stored"] >= max(len(trial["epochs"]) - 1, 1)), {})

        _, trials = records.until(lambda trials: bool(trained(trials)) and len(nodes_of(trials)) > 1, LANES_UP)
        killed = victim.kill_ray()
        assert any("raylet" in line for line in killed), killed
        before = trained(trials)
        code, printed = status(job, log)
        assert code == 0, printed
        _, ended = records.until(lambda trials: sum(trial["state"] in ENDED for trial in trials) == 4, seconds=10)
    assert {trial["state"] for trial in ended} == {"COMPLETE"}, printed
    after = ended[before["trial"]]
    assert [row["epoch"] for row in after["epochs"]] == [1, 2, 3, 4]
    assert ious(after)[: len(before["epochs"])] == ious(before)
    kept = before["stored"]
    assert after["epochs"][:kept] == before["epochs"][:kept], "by its timings, more than one epoch was trained again"
    assert "Traceback" not in printed


def ious(trial: dict[str, Any]) -> list[float]:
    return [row["val_iou"] for row in trial["epochs"]]


def test_a_node_that_joins_gets_a_lane_and_one_that_has_notice_is_left(
    onprem: Onprem, log: Path, record_property: Callable[[str, object], None]
) -> None:
    with (
        study(onprem, "grows", log, "--trials", "1000") as job,  # more than there is time for: it is stopped
        onprem.records(f"{STORAGE}/grows", job) as records,
        onprem.nodes() as nodes,
    ):
        records.until(lambda trials: len(nodes_of(trials)) == 2, LANES_UP)  # both lanes train
        newcomer = onprem.hosts.add()
        with standing_still(onprem):
            onprem.join(newcomer)
            registered, _ = nodes.until(lambda names: newcomer.name in names, seconds=60)
            has_lane = when_a_worker_is_there(newcomer, LANES_UP)
            trained, _ = records.until(lambda trials: newcomer.name in nodes_of(trials), LANES_UP)
        leave_with_notice(onprem, newcomer, records)
        newcomer.kill()
    record_property("seconds from a node's registration to its lane", round(has_lane - registered))
    record_property("seconds from a node's registration to its first epoch", round(trained - registered))


@contextmanager
def standing_still(onprem: Onprem) -> Iterator[None]:
    """A node brings cores of its own; here all share this machine's, and whoever trains stands still meanwhile."""
    pids = [pid for host in onprem.hosts for pid, line in host.processes().items() if "RayTrainWorker" in line]
    try:
        send(signal.SIGSTOP, pids)
        yield
    finally:
        send(signal.SIGCONT, pids)


def send(number: signal.Signals, pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def leave_with_notice(onprem: Onprem, node: NamespacedHost, records: Watch) -> None:
    """As a spot instance is taken away: its lane goes, and not one epoch of its trial is trained twice."""
    began = time.time()
    node.check(*spot_notice.drain(datetime.now(UTC) + timedelta(seconds=300)), env=TOKEN)
    while any("RayTrainWorker" in line for line in node.processes().values()):
        assert time.time() < began + 90
        time.sleep(0.2)
    there = [trial for trial in records.last if node.name in trial["nodes"] and trial["epochs"]]
    assert there
    for before in there:
        number = before["trial"]
        _, trials = records.until(lambda trials, n=number: trials[n:] and trials[n]["state"] in ENDED, LANES_UP)
        assert trials[number]["epochs"][: len(before["epochs"])] == before["epochs"]


def when_a_worker_is_there(host: NamespacedHost, seconds: float) -> float:
    """Seconds of time.time."""
    end = time.time() + seconds
    while not any("RayTrainWorker" in line for line in host.processes().values()):
        assert time.time() < end, host.processes()
        time.sleep(0.1)
    return time.time()


def test_a_trial_over_two_nodes_counts_as_one_node_does(onprem: Onprem, log: Path) -> None:
    # 91 validation images: two batches, one for each rank
    ranks = ["--workers-per-trial", "2", "--set", "dataset=phantom5", "--set", "finalists=1"]
    with study(onprem, "spans", log, "--trials", "1", "--epochs", "2", *ranks) as job:
        code, printed = status(job, log)
    assert code == 0, printed
    found, _ = onprem.program(onprem.head, "one_node.py", f"{STORAGE}/spans").communicate(timeout=60)
    answer = json.loads(found.splitlines()[-1])
    assert len(set(answer["nodes"])) == 2 and answer["images"] > 64 and answer["same"], answer


def test_ray_down_leaves_nothing_on_the_head(onprem: Onprem) -> None:
    onprem.down()
    assert [line for line in onprem.head.processes().values() if "ray" in line] == []
