"""kuberay.yaml has the keys that Kubernetes and KubeRay read, and the checks find what they are there for.

No API server is asked: what an admission webhook, a quota or a real node says is not exercised here.
"""

from collections.abc import Callable
from typing import Any

import pytest
import yaml
from kuberay_checks import problems
from ray_schema import PROJECT


def documents() -> list[Any]:
    return list(yaml.safe_load_all((PROJECT / "clusters" / "kuberay.yaml").read_text()))


def cluster(found: list[Any]) -> Any:
    return found[1]["spec"]["rayClusterSpec"]


def container(found: list[Any], group: str = "workers") -> Any:
    spec = cluster(found)
    template = spec["headGroupSpec"]["template"] if group == "head" else spec["workerGroupSpecs"][0]["template"]
    return template["spec"]["containers"][0]


def test_nothing_is_wrong() -> None:
    assert problems(documents()) == []


def test_a_cluster_alone_may_be_written_too() -> None:
    secret, job = documents()
    alone = job | {"kind": "RayCluster", "spec": cluster([secret, job])}
    assert problems([secret, alone]) == []


MISTAKES: list[tuple[Callable[[list[Any]], Any], str]] = [
    (lambda d: d[0].update(stringdata={}), "Secret."),
    (lambda d: d[0].update(kind="Secrets"), "Secrets: no such kind in v1"),
    (lambda d: d[1].update(kind="RayJobs"), "KubeRay has RayCluster, RayJob"),
    (lambda d: d[1]["spec"].update(shutDownAfterJobFinishes=True), "'shutDownAfterJobFinishes' was unexpected"),
    (lambda d: d[1]["spec"].pop("entrypoint"), "'entrypoint' is a required property"),
    (lambda d: cluster(d)["workerGroupSpecs"][0].update(minReplica=0), "'minReplica' was unexpected"),
    (lambda d: cluster(d)["headGroupSpec"]["rayStartParams"].update({"num-cpus": 0}), "0 is not of type 'string'"),
    (lambda d: container(d).update(img="x"), "'img' was unexpected"),
    (lambda d: container(d)["volumeMounts"][0].pop("mountPath"), "'mountPath' is a required property"),
    (lambda d: cluster(d).update(rayVersion="2.9.0"), "rayVersion: 2.9.0; constraints.txt has"),
    (lambda d: cluster(d).pop("authOptions"), "mode must be token"),
    (lambda d: cluster(d).update(enableInTreeAutoscaling=True), "enableInTreeAutoscaling: must be left out"),
    (lambda d: cluster(d)["headGroupSpec"]["rayStartParams"].clear(), 'num-cpus must be "0"'),
    (lambda d: container(d, "head").update(image="other:1.0"), "head and workers must have the same"),
    (lambda d: container(d).update(image="registry.example.com/segstudy"), "is another one tomorrow"),
    (lambda d: container(d).pop("envFrom"), "no access to the storage"),
    (lambda d: container(d).pop("env"), "RAY_USAGE_STATS_ENABLED must be 0"),
    (lambda d: container(d)["resources"].pop("limits"), "without limits.memory"),
    (lambda d: cluster(d)["workerGroupSpecs"][0].update(minReplicas=0), "must be the same, 1 or more"),
    (lambda d: d[0]["metadata"].update(name="other"), "no Secret segstudy-storage in this file"),
]


@pytest.mark.parametrize(("mistake", "message"), MISTAKES, ids=[message for _, message in MISTAKES])
def test_a_mistake_is_found(mistake: Callable[[list[Any]], Any], message: str) -> None:
    found = documents()
    mistake(found)
    said = problems(found)
    assert any(message in problem for problem in said), said
    assert not any("\n" in problem for problem in said)


def test_the_job_leaves_nothing() -> None:
    spec = documents()[1]["spec"]
    assert spec["shutdownAfterJobFinishes"] is True
    assert spec["ttlSecondsAfterFinished"] <= 3600
