"""A Ray cluster on hosts in namespaces, launched by `ray up` from the project's own clusters/onprem.yaml."""

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from hosts import Hosts
from namespaced_host import PROJECT, NamespacedHost
from s3_server import BUCKET
from watch import Watch

HERE = Path(__file__).parent
FILE = PROJECT / "clusters" / "onprem.yaml"
LAUNCHERS_FILE = f"/root/{FILE.name}"
SMALL = "--object-store-memory=100000000"
"""Bytes. Ray would take a third of the memory of this machine, on every host."""
DASHBOARD = "/dev/tcp/localhost/8265"
"""As bash opens it."""
TOKEN = {"RAY_AUTH_MODE": "token"}
"""Without it, Ray's commands send no token."""
OLD_AUTOSCALER = {"RAY_UP_enable_autoscaler_v2": "0"}


class Onprem:
    """The first of `hosts` is the head; `head_cpus` and `worker_cpus` are what Ray counts on each host."""

    def __init__(self, hosts: Hosts, head_cpus: int, worker_cpus: int):
        self.hosts, self.head, self.launcher = hosts, hosts[0], hosts.launcher
        cpus = {"head": head_cpus, "worker": worker_cpus}
        self._start = {kind: f"ray start {SMALL} --num-cpus={count}" for kind, count in cpus.items()}
        self._config = self._overridden(yaml.safe_load(FILE.read_text()))
        content = yaml.safe_dump(self._config)
        self.launcher.check("sh", "-c", f"cat > {LAUNCHERS_FILE} <<'END'\n{content}END\n")
        self.launcher.check(sys.executable, "-c", f"import s3fs; s3fs.S3FileSystem().mkdir({BUCKET!r})")

    def _overridden(self, config: dict[str, Any]) -> dict[str, Any]:
        """Other addresses, and other commands: there is no package index to install from."""
        config["provider"] |= {"head_ip": self.head.address, "worker_ips": self.hosts.addresses[1:]}
        config["auth"]["ssh_user"] = "root"
        link = f"ln -sfn {shlex.quote(sys.prefix)} ~/venv"
        config["setup_commands"] = [link if "pip" in command else command for command in config["setup_commands"]]
        for kind, start in self._start.items():
            commands = config[f"{kind}_start_ray_commands"]
            config[f"{kind}_start_ray_commands"] = [command.replace("ray start", start) for command in commands]
        return config

    def up(self) -> str:
        """What `ray up` printed. The head runs then, and starts the others, which takes half a minute more."""
        self.launcher.check("ray", "get-auth-token", "--generate")
        command = ["ray", "up", "--yes", "--no-config-cache", LAUNCHERS_FILE]
        return self.launcher.check(*command, env=OLD_AUTOSCALER, folder=PROJECT, seconds=120)

    def down(self) -> str:
        return self.launcher.check("ray", "down", "--yes", LAUNCHERS_FILE, folder=PROJECT, seconds=120)

    def nodes(self) -> Watch:
        """The names of the nodes that are there."""
        return Watch(self.program(self.head, "watch_nodes.py"))

    def records(self, study: str, job: "subprocess.Popen[str]") -> Watch:
        """What a study's records say, while its job does not fail."""
        return Watch(self.program(self.launcher, "watch_records.py", study), job)

    def program(self, host: NamespacedHost, file: str, *arguments: str) -> "subprocess.Popen[str]":
        """A file of this folder, running on a host."""
        environment = {"PYTHONPATH": str(PROJECT)} | TOKEN
        return host.popen(sys.executable, str(HERE / file), *arguments, env=environment)

    def forward_dashboard(self) -> None:
        """The head's dashboard is at port 8265 of the launcher from then on."""
        self.launcher.popen("ray", "dashboard", LAUNCHERS_FILE, stdout=subprocess.DEVNULL)
        self.launcher.check("timeout", "60", "bash", "-c", f"until (: <>{DASHBOARD}) 2>/dev/null; do sleep 0.2; done")

    def submit(self, name: str, log: Path, *command: str) -> "subprocess.Popen[str]":
        """As a job on the head; its output goes to `log`, its status is the job's."""
        submit = ["ray", "job", "submit", "--address", "http://localhost:8265", "--submission-id", name]
        with log.open("w") as file:
            words = [*submit, "--working-dir", ".", "--", *command]
            return self.launcher.popen(*words, env=TOKEN, folder=PROJECT, stdout=file)

    def stop_job(self, name: str) -> str:
        return self.launcher.check("ray", "job", "stop", "--address", "http://localhost:8265", name, env=TOKEN)

    def join(self, host: NamespacedHost) -> str:
        """Ray on one more host, by the commands of the file."""
        token = self.head.check("cat", ".ray/auth_token")
        home = f"mkdir -p ~/.ray ~/segstudy && echo -n {token} > ~/.ray/auth_token"
        commands = [home, *self._config["setup_commands"], f"export RAY_HEAD_IP={self.head.address}"]
        return host.check("bash", "-c", "\n".join([*commands, *self._config["worker_start_ray_commands"]]))
