"""gpu.yaml from `ray up` to `ray down`, in a region of AWS on this machine (aws_region.py)."""

import shlex
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from aws_region import Region
from hosts import Hosts
from namespaced_host import PROJECT, missing
from ray_schema import load

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing()), reason=missing() or "all there"),
]

FILE = "/root/gpu.yaml"
STACK = """
import boto3, sys
boto3.client("cloudformation").create_stack(
    StackName="segstudy",
    TemplateBody=open("clusters/aws-access.yaml").read(),
    Parameters=[{"ParameterKey": "Bucket", "ParameterValue": "studies"}],
    Capabilities=["CAPABILITY_NAMED_IAM"],
)
"""
ON_A_GPU = """
import ray, socket
ray.init(address="auto")
@ray.remote(num_gpus=1)
def where():
    return socket.gethostname()
print("task on", ray.get(where.remote()), "driver on", socket.gethostname())
"""


class Cluster:
    """gpu.yaml as its user launches it."""

    def __init__(self, region: Region):
        self.region, self.launcher = region, region.hosts.launcher
        text = yaml.safe_dump(self._config())
        self.launcher.check("sh", "-c", f"cat > {FILE} <<'END'\n{text}END\n")

    def _config(self) -> dict[str, Any]:
        """Other commands and another user: there is no package index to install from, and no Ubuntu."""
        config = load("gpu.yaml")
        config["auth"]["ssh_user"] = "root"
        variables = self.region.environment | {"RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES": "100000000"}
        exports = " ".join(f"{name}={value}" for name, value in variables.items())
        kept = [line for line in config["setup_commands"] if "pip install" not in line and "apt-get" not in line]
        config["setup_commands"] = [
            f"ln -sfn {shlex.quote(sys.prefix)} ~/venv",
            *kept,
            f"echo 'export {exports}' >> ~/segstudy.env",
        ]
        return config

    def run(self, *command: str, seconds: float = 180) -> str:
        environment = self.region.environment | {"RAY_AUTH_MODE": "token"}
        return self.launcher.check(*command, env=environment, folder=PROJECT, seconds=seconds)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Hosts(count=0) as hosts:
        region = Region(hosts)
        try:
            yield Cluster(region)
            assert region.errors == []
        finally:
            region.close()


def test_from_nothing_to_a_job_and_back_to_nothing(cluster: Cluster) -> None:
    region = cluster.region
    cluster.run("ray", "get-auth-token", "--generate")
    cluster.run(sys.executable, "-c", STACK)
    began = time.monotonic()
    print(cluster.run("ray", "up", "--yes", FILE))
    print(f"ray up: {time.monotonic() - began:.0f} s")
    (head,) = region.running()
    assert head["type"] == "m7i.xlarge"

    dashboard = cluster.launcher.popen("ray", "dashboard", FILE, env=region.environment)
    try:
        time.sleep(5)
        job = ["ray", "job", "submit", "--address", "http://localhost:8265", "--working-dir", "."]
        said = cluster.run(*job, "--", "python", "-c", ON_A_GPU, seconds=240)
    finally:
        dashboard.kill()
    print(said)
    (worker,) = region.running("g6.xlarge")
    assert f"task on {region.host(worker).name} driver on {region.host(head).name}" in said

    print(cluster.run("ray", "down", "--yes", FILE))
    assert region.running() == []
