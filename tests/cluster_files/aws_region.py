"""A region of AWS on this machine: moto plays EC2 and IAM, and every instance that it launches is a host in namespaces.

Real are the launcher, SSH, rsync, the autoscaler and Ray. Not real: images, quotas, spot prices and notices, GPUs.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from hosts import Hosts
from namespaced_host import NamespacedHost

PORT = 5000
SERVER = Path(__file__).with_name("ec2_server.py")
START_SECONDS = 60


def shut_down(host: NamespacedHost, seconds: float) -> None:
    """SIGTERM to all that runs there, as when a machine is shut down; it may take so long to end."""
    end = time.monotonic() + seconds
    for pid in _started(host):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    while _started(host) and time.monotonic() < end:
        time.sleep(0.1)


def _started(host: NamespacedHost) -> set[int]:
    """All but its first process; none where that has ended."""
    found = set(host.processes())
    return found - {host.init} if host.init in found else set()


class Region:
    """`hosts` without any host yet: each instance adds one, and takes it down when it is terminated."""

    def __init__(self, hosts: Hosts):
        self.hosts = hosts
        self.instances: dict[str, dict[str, Any]] = {}
        """By instance id: its type, address, and whether it is up."""
        self.errors: list[str] = []
        self._ready = threading.Event()
        first = str(ip_address(hosts.storage.address) + 1)
        self._server = subprocess.Popen(
            [*hosts.storage.in_its_network, sys.executable, str(SERVER), hosts.storage.address, str(PORT), first],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        # A host ends with the thread that made it: this one lasts as long as the region.
        self._follower = threading.Thread(target=self._follow, name="region", daemon=True)
        self._follower.start()
        if not self._ready.wait(START_SECONDS):
            self.close()
            raise RuntimeError("moto's server did not start")

    @property
    def environment(self) -> dict[str, str]:
        """What leads AWS's clients here; S3 is elsewhere."""
        url = f"http://{self.hosts.storage.address}:{PORT}"
        return {f"AWS_ENDPOINT_URL_{service}": url for service in ("EC2", "IAM", "CLOUDFORMATION")}

    def host(self, instance: dict[str, Any]) -> NamespacedHost:
        return next(host for host in self.hosts if host.address == instance["address"])

    def running(self, instance_type: str = "") -> list[dict[str, Any]]:
        """Instances that have not been terminated, in the order of their launch."""
        up = [instance for instance in self.instances.values() if instance["up"]]
        return [instance for instance in up if instance_type in ("", instance["type"])]

    def wait_until(self, condition: Callable[[], bool], seconds: float) -> None:
        """TimeoutError, with all instances, where it has not come true by then."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"not so after {seconds} s: {self.instances} {self.errors}")
            time.sleep(0.2)

    def close(self) -> None:
        # Before the thread that made them ends, which would end them unseen.
        for instance in self.running():
            self.host(instance).kill()
        self._server.kill()
        self._server.wait(30)
        self._follower.join(60)

    def _follow(self) -> None:
        assert self._server.stdout
        with self._server.stdout as lines:
            for line in lines:
                try:
                    self._happen(json.loads(line))
                except (OSError, RuntimeError, ValueError) as error:
                    self.errors.append(f"{line.strip()}: {error}")

    def _happen(self, said: dict[str, Any]) -> None:
        match said["event"]:
            case "ready":
                self._ready.set()
            case "launched":
                self._boot(said)
            case "terminated":
                self.instances[said["id"]]["up"] = False
                self.host(said).kill()

    def _boot(self, said: dict[str, Any]) -> None:
        """As an image of AWS's does: who has the key of the launch may log in."""
        host = self.hosts.add()
        if host.address != said["address"]:
            raise RuntimeError(f"the host is {host.address}, the instance {said['address']}")
        host.check("sh", "-c", f"echo '{said['public_key']}' >> ~/.ssh/authorized_keys")
        self.instances[said["id"]] = said | {"up": True}
