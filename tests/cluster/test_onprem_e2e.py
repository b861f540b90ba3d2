"""`ray up` of clusters/onprem.yaml on hosts of their own; studies over its nodes; nodes that vanish and that join."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from onprem import Onprem

from study.records import State

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(420)]

STORAGE = "s3://studies/lab"
ENDED = {str(state) for state in State if state.ended}
SMALL_STUDY = ["--epochs", "3", "--image-size", "64"]


def study(onprem: Onprem, name: str, log: Path, *options: str) -> "subprocess.Popen[str]":
    where = ["--storage", STORAGE, "--name", name, "--address", "auto"]
    return onprem.submit(name, log, "python", "-m", "study.run", "phantom", *where, *SMALL_STUDY, *options)


def nodes_of(trials: list[dict[str, Any]]) -> set[str]:
    return {node for trial in trials for node in trial["nodes"]}


def status(job: "subprocess.Popen[str]", log: Path, seconds: float = 240) -> tuple[int, str]:
    """The job's exit status, and all that it printed."""
    job.wait(seconds)
    return job.returncode, log.read_text()


def test_a_study_outlives_a_node(onprem: Onprem, log: Path) -> None:
    victim = onprem.hosts[2]
    job = study(onprem, "outlives", log, "--trials", "6", "--no-report")
    with onprem.records(f"{STORAGE}/outlives", job) as records:

        def trained(trials: list[dict[str, Any]]) -> dict[str, Any]:
            """A trial that is on the victim, in its second epoch or later; nothing where there is none."""
            there = (t for t in trials if victim.name in t["nodes"] and t["state"] == "RUNNING" and t["epochs"])
            return next(there, {})

        _, trials = records.until(lambda trials: bool(trained(trials)) and len(nodes_of(trials)) > 1, seconds=120)
        killed = victim.kill_ray()
        assert any("raylet" in line for line in killed), killed
        before = trained(trials)
        code, printed = status(job, log)
        assert code == 0, printed
        _, ended = records.until(lambda trials: sum(trial["state"] in ENDED for trial in trials) == 6, seconds=10)
    assert {trial["state"] for trial in ended} <= {"COMPLETE", "PRUNED"}, printed
    after = ended[before["trial"]]
    assert after["epochs"][: len(before["epochs"])] == before["epochs"], "an epoch that was behind it was trained again"
    assert [row["epoch"] for row in after["epochs"]] == list(range(1, len(after["epochs"]) + 1))
    assert "Traceback" not in printed


def test_a_node_that_joins_gets_a_lane(onprem: Onprem, log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = study(onprem, "grows", log, "--trials", "60", "--no-report")
    with onprem.records(f"{STORAGE}/grows", job) as records, onprem.nodes() as nodes:
        records.until(lambda trials: any(trial["epochs"] for trial in trials), seconds=120)
        newcomer = onprem.hosts.add()
        onprem.join(newcomer)
        registered, _ = nodes.until(lambda names: newcomer.name in names, seconds=60)
        has_lane, _ = records.until(lambda trials: newcomer.name in nodes_of(trials), seconds=60)
    onprem.stop_job("grows")
    with capsys.disabled():
        print(f"\na node that joined trained {has_lane - registered:.0f} s after its registration")
    assert has_lane - registered < 30
    newcomer.kill()


def test_a_trial_over_two_nodes_counts_as_one_node_does(onprem: Onprem, log: Path) -> None:
    # 96 validation images: two batches, one for each rank
    ranks = ["--workers-per-trial", "2", "--set", "dataset=phantom5", "--set", "finalists=1"]
    code, printed = status(study(onprem, "spans", log, "--trials", "1", "--no-report", *ranks), log)
    assert code == 0, printed
    found, _ = onprem.program(onprem.head, "one_node.py", f"{STORAGE}/spans").communicate(timeout=60)
    answer = json.loads(found.splitlines()[-1])
    assert len(set(answer["nodes"])) == 2 and answer["images"] > 64 and answer["same"], answer


def test_ray_down_leaves_nothing_on_the_head(onprem: Onprem) -> None:
    onprem.down()
    assert [line for line in onprem.head.processes().values() if "ray" in line] == []
