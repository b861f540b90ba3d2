"""gpu.yaml and onprem.yaml are right, and every check finds what it is there for."""

import copy
from collections.abc import Callable
from typing import Any

import aws_checks
import launcher_checks
import pytest
import ray_schema
from ray_schema import load

ALL_AWS = launcher_checks.CHECKS + aws_checks.CHECKS


def head(config: dict[str, Any]) -> Any:
    return config["available_node_types"]["head"]


def gpu(config: dict[str, Any]) -> Any:
    return config["available_node_types"]["gpu-1"]


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("name", ["gpu.yaml", "onprem.yaml"])
def test_ray_accepts_it(name: str) -> None:
    assert ray_schema.problems(load(name)) == []


def test_nothing_is_wrong_on_aws() -> None:
    assert launcher_checks.problems(load("gpu.yaml"), ALL_AWS) == []


def test_nothing_is_wrong_on_premises() -> None:
    assert launcher_checks.problems(load("onprem.yaml")) == []


REFUSED_BY_RAY: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda c: c.update(initial_workers=1), "'initial_workers' was unexpected"),
    (lambda c: gpu(c).update(idle_timeout="5"), "'idle_timeout' was unexpected"),
    (lambda c: gpu(c).pop("node_config"), "node_config"),
    (lambda c: gpu(c).update(min_workers=9), "smaller than the sum of `min_workers`"),
    (lambda c: c.update(head_node_type="haed"), "`head_node_type` must be one of"),
    (lambda c: c.update(setup_commands="pip install ."), "is not of type 'array'"),
]


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize(("mistake", "message"), REFUSED_BY_RAY)
def test_ray_refuses(mistake: Callable[[dict[str, Any]], Any], message: str) -> None:
    config = load("gpu.yaml")
    mistake(config)
    (problem,) = ray_schema.problems(config)
    assert message in problem and "\n" not in problem


def replaced(key: str, old: str, new: str) -> Callable[[dict[str, Any]], None]:
    """A mistake: `old` is written as `new` in all of the commands under `key`."""

    def mistake(config: dict[str, Any]) -> None:
        assert any(old in line for line in config[key])
        config[key] = [line.replace(old, new) for line in config[key]]

    return mistake


MISTAKES: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda c: c["provider"].update(use_internal_ip=True), "provider.use_internal_ip: Ray knows no such key"),
    (replaced("worker_start_ray_commands", "$RAY_HEAD_IP", "10.0.0.1"), "does not join the head"),
    (replaced("worker_start_ray_commands", ":6379", ":6380"), "port 6380, where the head listens on 6379"),
    (lambda c: c["worker_start_ray_commands"].clear(), "worker_start_ray_commands: none starts Ray"),
    (lambda c: c["worker_start_ray_commands"].pop(0), "`ray stop` must come before"),
    (replaced("head_start_ray_commands", "--head ", ""), "none says ray start --head"),
    (replaced("head_start_ray_commands", "--autoscaling-config", "--config"), "no worker is started"),
    (replaced("head_start_ray_commands", "127.0.0.1", "0.0.0.0"), "--dashboard-host=0.0.0.0 shows it to the network"),
    (replaced("head_start_ray_commands", ". ~/segstudy.env;", ""), "must begin with `. ~/segstudy.env;`"),
    (lambda c: c["file_mounts"].pop("~/.ray/auth_token"), "~/.ray/auth_token must go to every machine"),
    (replaced("setup_commands", "RAY_AUTH_MODE=token", ""), "must have RAY_AUTH_MODE=token"),
    (replaced("setup_commands", "RAY_USAGE_STATS_ENABLED=0", ""), "Ray reports to its makers"),
    (replaced("setup_commands", "-c constraints.txt -e .", "-e ."), "takes any version"),
    (lambda c: c["file_mounts"].update({"~/x": "/home/me/x"}), "is there on one machine only"),
    (lambda c: c["file_mounts"].update({"~/x": "sge"}), "there is no sge in the project"),
    (lambda c: c["file_mounts"].update({"~/x": "."}), "is the whole project"),
    (lambda c: c["file_mounts"].pop("~/segstudy/study"), "file_mounts: study must be there too"),
]
"""In either file."""


@pytest.mark.parametrize("name", ["gpu.yaml", "onprem.yaml"])
@pytest.mark.parametrize(("mistake", "message"), MISTAKES, ids=[message for _, message in MISTAKES])
def test_a_mistake_is_found(name: str, mistake: Callable[[dict[str, Any]], Any], message: str) -> None:
    assert_found(load(name), mistake, message, launcher_checks.CHECKS)


AWS_MISTAKES: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda c: c.update(min_workers=1), "min_workers: Ray ignores it here"),
    (lambda c: gpu(c)["node_config"].update(InstanceTyp="g6.xlarge"), 'Unknown parameter in input: "InstanceTyp"'),
    (lambda c: gpu(c)["node_config"].update(SubnetId="subnet-1"), "gpu-1.node_config.SubnetId: Ray reads the list"),
    (lambda c: gpu(c)["node_config"].update(MaxCount=3), "gpu-1.node_config.MaxCount: Ray sets it"),
    (lambda c: gpu(c)["node_config"].update(InstanceType="g6.xlrage"), "InstanceType: g6.xlrage is none that EC2 has"),
    (lambda c: gpu(c)["node_config"].update(KeyName=["a"]), "Invalid type for parameter KeyName"),
    (
        lambda c: gpu(c)["node_config"]["BlockDeviceMappings"][0]["Ebs"].update(Size=9),
        'Unknown parameter in BlockDeviceMappings[0].Ebs: "Size"',
    ),
    (
        lambda c: gpu(c)["node_config"]["BlockDeviceMappings"][0]["Ebs"].update(VolumeType="gp5"),
        "VolumeType: gp5 is none that EC2 has",
    ),
    (
        lambda c: gpu(c)["node_config"]["InstanceMarketOptions"].update(MaxPrice="1"),
        'Unknown parameter in InstanceMarketOptions: "MaxPrice"',
    ),
    (lambda c: head(c)["resources"].clear(), "CPU must be 0"),
    (
        lambda c: head(c)["node_config"].update(InstanceMarketOptions={"MarketType": "spot"}),
        "a head on spot takes the study with it",
    ),
    (lambda c: gpu(c).update(min_workers=1), "gpu-1.min_workers: 1 machines run, and cost"),
    (lambda c: gpu(c)["node_config"].pop("InstanceMarketOptions"), "not on spot"),
    (lambda c: gpu(c)["resources"].update(GPU=8), "leave CPU, GPU and memory out"),
    (lambda c: c.update(idle_timeout_minutes=600), "idle machines cost long"),
    (lambda c: c["provider"].pop("cache_stopped_nodes"), "`ray down` only stops machines"),
    (
        lambda c: gpu(c)["node_config"]["BlockDeviceMappings"][0]["Ebs"].pop("DeleteOnTermination"),
        "/dev/sda1 stays, and costs",
    ),
    (lambda c: gpu(c)["node_config"].pop("ImageId"), "gpu-1.node_config.ImageId: needed"),
    (lambda c: gpu(c)["node_config"].pop("IamInstanceProfile"), "IamInstanceProfile: needed for the bucket"),
    (lambda c: gpu(c)["node_config"].pop("MetadataOptions"), "HttpTokens must be required"),
    (lambda c: gpu(c)["node_config"].pop("BlockDeviceMappings"), "less than 60 GB of disk"),
    (lambda c: c["provider"].update(region="eu-west-1"), "must have AWS_DEFAULT_REGION=eu-west-1"),
    (lambda c: c.update(max_workers=50), "max_workers: 50, where the node types allow 5 together"),
]


@pytest.mark.parametrize(("mistake", "message"), AWS_MISTAKES, ids=[message for _, message in AWS_MISTAKES])
def test_a_mistake_on_aws_is_found(mistake: Callable[[dict[str, Any]], Any], message: str) -> None:
    assert_found(load("gpu.yaml"), mistake, message, ALL_AWS)


def test_every_check_is_tried() -> None:
    """Each finds at least one of the mistakes above."""
    tried = set()
    for mistake, _ in MISTAKES + AWS_MISTAKES:
        config = copy.deepcopy(load("gpu.yaml"))
        mistake(config)
        tried |= {check for check in ALL_AWS if list(check(config))}
    assert set(ALL_AWS) - tried == set()


def assert_found(
    config: dict[str, Any],
    mistake: Callable[[dict[str, Any]], Any],
    message: str,
    checks: tuple[launcher_checks.Check, ...],
) -> None:
    mistake(config)
    found = launcher_checks.problems(config, checks)
    assert any(message in problem for problem in found), found
    assert not any("\n" in problem for problem in found)
