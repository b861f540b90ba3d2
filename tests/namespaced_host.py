"""A host of its own on this machine: network, process, mount, name and IPC namespaces, with sshd as its first process.

Private are its home, /tmp, /var/tmp, /run and /dev/shm; all else is this machine's, read-only. Ends with the process
that made it. Needs root, and the packages below.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from debian import NEEDS_ROOT, not_installed

PROJECT = Path(__file__).parents[1]
HOME = Path("/root")
PACKAGES = {
    "iproute2": ("ip",),
    "openssh-client": ("ssh", "ssh-keygen"),
    "openssh-server": ("/usr/sbin/sshd",),
    "procps": ("ps", "uptime"),
    "rsync": ("rsync",),
    "util-linux": ("nsenter", "unshare", "setpriv"),
}
"""Debian's packages, and the programs that are needed of each."""
DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL")
"""Whatever is started so ends with the process that started it, also where that is killed."""
APART = ("unshare", "--net", "--pid", "--mount", "--uts", "--ipc", "--fork", "--kill-child=KILL", "--mount-proc")
NAMESPACES = ("net", "pid", "mount", "uts", "ipc")
ENVIRONMENT = {
    "PATH": f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": str(HOME),
    "USER": "root",
    "LANG": "C.UTF-8",
    "RAY_USAGE_STATS_ENABLED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
}
"""All that a command inside sees: nothing of the environment of the tests leaks in."""

# What lies beneath a private folder and must be seen nevertheless is put aside first, then bound to its place again.
SET_UP = """
set -euo pipefail
name=$1 template=$2; shift 2
hostname "$name"
mount -t tmpfs tmpfs /run
mkdir -p /run/sshd /run/private/tmp /run/private/var-tmp
cp -a "$template" /run/private/machine
for path; do
    mkdir -p "/run/visible$path"
    mount --bind "$path" "/run/visible$path"
    mount -o remount,bind,ro "/run/visible$path"
done
mount --bind /run/private/machine/hosts /etc/hosts
mount --bind /run/private/machine/resolv.conf /etc/resolv.conf
mount --bind /run/private/machine/home "$HOME"
mount --bind /run/private/tmp /tmp
chmod 1777 /tmp
mount --bind /run/private/var-tmp /var/tmp
mount -t tmpfs tmpfs /dev/shm
mount -o remount,bind,ro /
for path; do
    mkdir -p "$path" 2>/dev/null || true
    mount --move "/run/visible$path" "$path"
done
cd /
echo ready
exec /usr/sbin/sshd -D -e -f /run/private/machine/sshd_config >/run/sshd.log 2>&1
"""


def missing() -> str:
    """Why no such host can be made here; empty where it can."""
    if os.geteuid():
        return NEEDS_ROOT
    absent = [package for package, programs in PACKAGES.items() if not all(map(shutil.which, programs))]
    if absent:
        return not_installed(*absent)
    # Root in a container may not be allowed to.
    trial = subprocess.run([*APART, "true"], capture_output=True, text=True, check=False)
    return f"no namespaces here: {trial.stderr.strip()}" if trial.returncode else ""


class NamespacedHost:
    """`template`: a folder with `home`, `hosts`, `resolv.conf` and `sshd_config`, copied into the host."""

    def __init__(self, name: str, address: str, template: Path):
        self.name, self.address = name, address
        set_up = ["bash", "-c", SET_UP, "bash", name, str(template), *_seen()]
        self._keeper = subprocess.Popen(
            [*DIES_WITH_US, *APART, *set_up],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )
        assert self._keeper.stdout and self._keeper.stderr
        if self._keeper.stdout.readline() != "ready\n":
            raise RuntimeError(f"host {name}: {self._keeper.stderr.read()}")
        self.init = _only_child(self._keeper.pid)
        """The process id, as this machine counts, of its first process."""
        self._children: list[subprocess.Popen[str]] = []

    @property
    def in_its_network(self) -> list[str]:
        """What a command begins with that runs on this machine, yet in the host's network."""
        return [*DIES_WITH_US, "nsenter", f"--net=/proc/{self.init}/ns/net"]

    def popen(
        self,
        *command: str,
        env: Mapping[str, str] | None = None,
        folder: Path = HOME,
        stdout: int | IO[str] = subprocess.PIPE,
    ) -> "subprocess.Popen[str]":
        """stderr goes into stdout."""
        enter = ["nsenter", f"--target={self.init}", *(f"--{namespace}" for namespace in NAMESPACES)]
        child = subprocess.Popen(
            [*DIES_WITH_US, *enter, *DIES_WITH_US, "env", f"--chdir={folder}", *command],
            stdout=stdout,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            env=ENVIRONMENT | dict(env or {}),
        )
        self._children.append(child)
        return child

    def run(
        self, *command: str, env: Mapping[str, str] | None = None, folder: Path = HOME, seconds: float = 60
    ) -> "subprocess.CompletedProcess[str]":
        """stderr is in stdout. TimeoutError, with what it printed, after so many seconds."""
        child = self.popen(*command, env=env, folder=folder)
        try:
            output, _ = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired as error:
            child.kill()
            output, _ = child.communicate(timeout=10)
            raise TimeoutError(f"{self.name}: {' '.join(command)}: not done in {seconds} s:\n{output}") from error
        return subprocess.CompletedProcess(command, child.returncode, output, "")

    def check(
        self, *command: str, env: Mapping[str, str] | None = None, folder: Path = HOME, seconds: float = 60
    ) -> str:
        """What it printed. RuntimeError with that where it fails."""
        done = self.run(*command, env=env, folder=folder, seconds=seconds)
        if done.returncode:
            raise RuntimeError(f"{self.name}: {' '.join(command)}: exit status {done.returncode}:\n{done.stdout}")
        return str(done.stdout)

    def processes(self) -> dict[int, str]:
        """Process id, as this machine counts, and command line of all that runs there."""
        if self._keeper.poll() is not None:
            return {}  # its first process' id may be another's by now
        return {pid: _command_line(pid) for pid in _all_processes() if _namespace(pid) == _namespace(self.init)}

    def kill_ray(self) -> list[str]:
        """SIGKILL to every process of Ray's, the raylet first. Their command lines."""
        found = {pid: line for pid, line in self.processes().items() if "ray::" in line or "/ray/" in line}
        for pid in sorted(found, key=lambda pid: "raylet/raylet" not in found[pid]):
            _kill(pid)
        return list(found.values())

    def kill(self) -> None:
        """As a power failure: nothing there runs any more, nobody is told. Returns when all has ended."""
        unplug = ["nsenter", f"--net=/proc/{self.init}/ns/net", "ip", "link", "set", "eth0", "down"]
        if self._keeper.poll() is None:
            subprocess.run(unplug, check=False, capture_output=True)
            _kill(self.init)
        for child in [*self._children, self._keeper]:
            child.wait(30)
            for pipe in (child.stdout, child.stderr):
                if pipe:
                    pipe.close()
        self._children.clear()


def _seen() -> list[str]:
    """What must be there wherever it lies; what is beneath another of these comes with it."""
    paths = {PROJECT, Path(sys.prefix), Path(sys.base_prefix)}
    return [str(path) for path in paths if paths.isdisjoint(path.parents)]


def _only_child(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())


def _all_processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _namespace(pid: int) -> int:
    """Of its process ids; 0 where it has ended."""
    try:
        return os.stat(f"/proc/{pid}/ns/pid").st_ino
    except OSError:
        return 0


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
