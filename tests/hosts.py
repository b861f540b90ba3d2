"""Several hosts on this machine, on a network of their own that leads nowhere else: no default route, no way out.

hosts = Hosts(count=3)          a launcher, a storage host and three more
hosts[0].run("hostname")        a command inside; `hosts.launcher` reaches the others by ssh
hosts.close()                   nothing is left
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from namespaced_host import DIES_WITH_US, HOME, NamespacedHost
from s3_server import KEY, SECRET

SUBNET = "10.77.0"
S3_PORT = 8333
SSHD = """
Port 22
HostKey /run/private/machine/host_key
AuthorizedKeysFile %h/.ssh/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
UseDNS no
PrintMotd no
PrintLastLog no
MaxStartups 100
"""


class Hosts:
    """Named `launcher`, `storage` and `host1`, `host2`, ... Each has a key with which root may log in everywhere, and
    AWS's files in its home, which lead to an S3 server on the storage host."""

    def __init__(self, count: int):
        self.folder = Path(tempfile.mkdtemp(prefix="hosts-"))
        self._all: list[NamespacedHost] = []
        self._namespaces: set[int] = set()
        self._bridge = subprocess.Popen(
            [*DIES_WITH_US, "unshare", "--net", "sh", "-c", "echo ready && exec sleep infinity"],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert self._bridge.stdout and self._bridge.stdout.readline()
            self._ip(self._bridge.pid, "link add bridge type bridge", "link set bridge up")
            self._write_template()
            self.launcher, self.storage = self._add("launcher"), self._add("storage")
            self.hosts = [self.add() for _ in range(count)]
        except BaseException:
            self.close()
            raise

    def __getitem__(self, index: int) -> NamespacedHost:
        return self.hosts[index]

    def __iter__(self) -> Iterator[NamespacedHost]:
        return iter(self.hosts)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def addresses(self) -> list[str]:
        return [host.address for host in self.hosts]

    @property
    def s3_url(self) -> str:
        return f"http://{self.storage.address}:{S3_PORT}"

    def add(self) -> NamespacedHost:
        """One more host, which was not there before."""
        host = self._add(f"host{len(self._all) - 1}")
        if hasattr(self, "hosts"):
            self.hosts.append(host)
        return host

    def close(self) -> None:
        """RuntimeError where anything is left."""
        for host in self._all:
            host.kill()
        self._bridge.kill()
        self._bridge.wait(30)
        assert self._bridge.stdout
        self._bridge.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        if left := [pid for pid in os.listdir("/proc") if pid.isdecimal() and _network(pid) in self._namespaces]:
            raise RuntimeError(f"processes of the hosts are left: {', '.join(left)}")

    def _add(self, name: str) -> NamespacedHost:
        number = len(self._all)
        host = NamespacedHost(name, _address(number), self.folder)
        self._all.append(host)
        self._namespaces.add(_network(str(host.init)))
        self._ip(
            self._bridge.pid,
            f"link add port{number} type veth peer name eth0 netns {host.init}",
            f"link set port{number} master bridge up",
        )
        self._ip(host.init, "link set lo up", f"addr add {host.address}/24 dev eth0", "link set eth0 up")
        return host

    def _ip(self, pid: int, *lines: str) -> None:
        inside = ["nsenter", f"--net=/proc/{pid}/ns/net", "ip", "-batch", "-"]
        subprocess.run(inside, input="\n".join(lines), text=True, check=True)

    def _write_template(self) -> None:
        ssh, aws = self.folder / "home" / ".ssh", self.folder / "home" / ".aws"
        ssh.mkdir(parents=True, mode=0o700)
        aws.mkdir()
        for key in (ssh / "id_ed25519", self.folder / "host_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "tests", "-f", key], check=True)
        shutil.copy(ssh / "id_ed25519.pub", ssh / "authorized_keys")
        names = ["localhost", "launcher", "storage", *(f"host{number}" for number in range(1, 100))]
        addresses = ["127.0.0.1", *map(_address, range(101))]
        lines = [f"{address} {name}" for address, name in zip(addresses, names, strict=True)]
        (self.folder / "hosts").write_text("\n".join(lines) + "\n")
        (self.folder / "resolv.conf").write_text("")
        (self.folder / "sshd_config").write_text(SSHD)
        storage = f"http://{_address(1)}:{S3_PORT}"
        (aws / "config").write_text(f"[default]\nregion = us-east-1\nendpoint_url = {storage}\n")
        (aws / "credentials").write_text(f"[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n")
        assert str(HOME) == os.path.expanduser("~root")


def _address(number: int) -> str:
    return f"{SUBNET}.{10 + number}"


def _network(pid: str) -> int:
    """The inode of its namespace; 0 where the process has ended."""
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino
    except OSError:
        return 0
