"""gpu.yaml as its user launches it, in a region of AWS on this machine."""

import contextlib
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import yaml
from aws_region import Region, shut_down
from namespaced_host import PROJECT, NamespacedHost
from ray_schema import load

FILE = "/root/gpu.yaml"
STACK = """
import boto3
boto3.client("cloudformation").create_stack(
    StackName="segstudy",
    TemplateBody=open("clusters/aws-access.yaml").read(),
    Parameters=[{"ParameterKey": "Bucket", "ParameterValue": "studies"}],
    Capabilities=["CAPABILITY_NAMED_IAM"],
)
"""
TERMINATE = "import boto3, sys; boto3.client('ec2').terminate_instances(InstanceIds=sys.argv[1:])"
DASHBOARD = "http://localhost:8265"
FETCH = """
import sys, urllib.error, urllib.request
url, *token = sys.argv[1:]
try:
    headers = {"Authorization": f"Bearer {token[0]}"} if token else {}
    print(urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10).read().decode())
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
except OSError as error:
    print(error)
"""


def fetch(host: NamespacedHost, url: str, *token: str) -> str:
    """What a web page says to who asks on `host`; else why it says nothing."""
    return host.check(sys.executable, "-c", FETCH, url, *token)


class AwsCluster:
    """`settings`: more variables for Ray and all that it starts, on every machine."""

    def __init__(self, region: Region, settings: dict[str, str] | None = None):
        self.region, self.launcher = region, region.hosts.launcher
        self._settings = {"RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES": "100000000"} | (settings or {})
        self._environment = region.environment | {"RAY_AUTH_MODE": "token"}
        text = yaml.safe_dump(self._config())
        self.launcher.check("sh", "-c", f"cat > {FILE} <<'END'\n{text}END\n")

    @property
    def head(self) -> NamespacedHost:
        return self.region.host(next(iter(self.region.instances.values())))

    def up(self) -> str:
        """What `ray up` printed."""
        self._check("ray", "get-auth-token", "--generate")
        self._check(sys.executable, "-c", STACK)
        return self._check("ray", "up", "--yes", FILE)

    def down(self) -> str:
        return self._check("ray", "down", "--yes", FILE)

    @contextlib.contextmanager
    def dashboard(self) -> Iterator[None]:
        """The head's is on the launcher's localhost meanwhile."""
        forward = self.launcher.popen("ray", "dashboard", FILE, env=self._environment, stdout=subprocess.DEVNULL)
        try:
            end = time.monotonic() + 60
            while "<title>Ray Dashboard</title>" not in fetch(self.launcher, DASHBOARD):
                if forward.poll() is not None or time.monotonic() > end:
                    raise RuntimeError("ray dashboard does not forward")
                time.sleep(0.5)
            yield
        finally:
            forward.kill()
            forward.wait(30)

    def submit(self, *command: str) -> "subprocess.Popen[str]":
        """As a job on the head, through the dashboard; its output follows."""
        job = ["ray", "job", "submit", "--address", DASHBOARD, "--working-dir", ".", "--", *command]
        return self.launcher.popen(*job, env=self._environment, folder=PROJECT)

    def reclaim(self, instance: dict[str, Any], seconds: float = 10) -> None:
        """As AWS takes a spot machine back: SIGTERM to all that runs there, so much time, and it is gone."""
        shut_down(self.region.host(instance), seconds)
        self._check(sys.executable, "-c", TERMINATE, instance["id"])
        self.region.wait_until(lambda: not self.region.instances[instance["id"]]["up"], 30)

    def _config(self) -> dict[str, Any]:
        """Other commands and another user: there is no package index to install from, and no Ubuntu."""
        config = load("gpu.yaml")
        config["auth"]["ssh_user"] = "root"
        exports = " ".join(f"{name}={value}" for name, value in (self.region.environment | self._settings).items())
        kept = [line for line in config["setup_commands"] if "pip install" not in line and "apt-get" not in line]
        config["setup_commands"] = [
            f"ln -sfn {shlex.quote(sys.prefix)} ~/venv",
            *kept,
            f"echo 'export {exports}' >> ~/segstudy.env",
        ]
        return config

    def _check(self, *command: str) -> str:
        return self.launcher.check(*command, env=self._environment, folder=PROJECT, seconds=180)
