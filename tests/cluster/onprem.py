"""A Ray cluster on hosts in namespaces, launched by `ray up` from the project's own clusters/onprem.yaml."""

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hosts import Hosts
from namespaced_host import PROJECT, NamespacedHost
from s3_server import BUCKET

FILE = PROJECT / "clusters" / "onprem.yaml"
MAKE_BUCKET = f"import s3fs; s3fs.S3FileSystem().mkdir({BUCKET!r})"
SMALL = "--object-store-memory=100000000"
"""Bytes. Ray would take a third of the memory of this machine, on every host."""


class Onprem:
    """`cpus` of the head and of each worker, as Ray counts them. The first of `hosts` is the head."""

    def __init__(self, hosts: Hosts, head_cpus: int, worker_cpus: int):
        self.hosts, self.head, self.launcher = hosts, hosts[0], hosts.launcher
        self._start = {
            "head": f"ray start {SMALL} --num-cpus={head_cpus}",
            "worker": f"ray start {SMALL} --num-cpus={worker_cpus}",
        }
        self._file = f"/root/{FILE.name}"
        self.launcher.check("sh", "-c", f"cat > {self._file} <<'END'\n{yaml.safe_dump(self._config())}END\n")

    def _config(self) -> dict[str, Any]:
        """The file with other addresses and commands: there is no package index to install from."""
        config: dict[str, Any] = yaml.safe_load(FILE.read_text())
        config["provider"] |= {"head_ip": self.head.address, "worker_ips": self.hosts.addresses[1:]}
        config["auth"]["ssh_user"] = "root"
        link = f"ln -sfn {shlex.quote(sys.prefix)} ~/venv"
        config["setup_commands"] = [
            link if "pip install" in command else command for command in config["setup_commands"]
        ]
        for kind, start in self._start.items():
            commands = config[f"{kind}_start_ray_commands"]
            config[f"{kind}_start_ray_commands"] = [command.replace("ray start", start) for command in commands]
        return config

    def up(self) -> str:
        """What `ray up` printed. The head runs then, and starts the others, which takes half a minute more."""
        self.launcher.check("ray", "get-auth-token", "--generate")
        command = ["ray", "up", "--yes", "--no-config-cache", self._file]
        environment = {"RAY_UP_enable_autoscaler_v2": "0"}
        return self.launcher.check(*command, env=environment, folder=PROJECT, seconds=120)

    def down(self) -> str:
        return self.launcher.check("ray", "down", "--yes", self._file, folder=PROJECT, seconds=120)

    def dashboard(self) -> "subprocess.Popen[str]":
        """Forwards the head's dashboard to port 8265 of the launcher, until it ends."""
        return self.launcher.popen("ray", "dashboard", self._file, stdout=subprocess.DEVNULL)

    def submit(self, *command: str) -> "subprocess.Popen[str]":
        """As a job on the head; its output follows."""
        job = ["ray", "job", "submit", "--address", "http://localhost:8265", "--working-dir", ".", "--"]
        return self.launcher.popen(*job, *command, folder=PROJECT)

    def join(self, host: NamespacedHost) -> str:
        """Ray on one more host, as the file starts it on a worker."""
        config = self._config()
        commands = [*config["setup_commands"], f"export RAY_HEAD_IP={self.head.address}"]
        commands += config["worker_start_ray_commands"]
        host.check("sh", "-c", "mkdir -p ~/segstudy ~/.ray; cp -r /work/main ~/segstudy")
        return host.check("bash", "-c", "\n".join(commands))

    def python(self, program: str, *arguments: str) -> str:
        """What a program printed that ran on the launcher, where the storage can be reached."""
        return self.launcher.check(sys.executable, "-c", program, *arguments, folder=PROJECT)
