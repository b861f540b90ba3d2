"""One Ray for all end-to-end tests: started once, joined by every study's own process."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from s3_server import S3Server

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def ray_address(s3_server: S3Server) -> Iterator[str]:
    """Its workers are Ray's children, not the studies': they know the S3 server from the environment here."""
    import ray

    from study.lanes.cluster import LOCAL

    context = ray.init(num_cpus=2, **LOCAL)
    yield context.address_info["gcs_address"]
    ray.shutdown()


class Shell:
    """The commands as a user types them, studies in one folder, all on the one Ray."""

    def __init__(self, address: str, storage: Path):
        self.address, self.storage = address, storage
        self._started: list[subprocess.Popen[str]] = []

    def run(self, module: str, *arguments: object, status: int = 0) -> str:
        """Standard output and error of `python -m module`, which must end with `status`."""
        done = subprocess.run(
            self._command(module, *arguments), cwd=ROOT, text=True, capture_output=True, timeout=400, check=False
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + done.stderr

    def start_study(self, *arguments: object) -> subprocess.Popen[str]:
        command = self._command("study.run", *self._joined(arguments))
        process = subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self._started.append(process)
        return process

    def end_started(self) -> None:
        """A study that a failed test left running would take the cores from the tests after it."""
        while self._started:
            process = self._started.pop()
            if process.poll() is None:
                process.kill()
                process.wait()

    def study(self, *arguments: object, status: int = 0) -> str:
        return self.run("study.run", *self._joined(arguments), status=status)

    def _joined(self, arguments: tuple[object, ...]) -> tuple[object, ...]:
        return (*arguments, "--storage", self.storage, "--address", self.address)

    def _command(self, module: str, *arguments: object) -> list[str]:
        return [sys.executable, "-m", module, *map(str, arguments)]


@pytest.fixture(autouse=True)
def ends_what_it_started(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "shell" in request.fixturenames:
        request.getfixturevalue("shell").end_started()


@pytest.fixture(scope="session")
def shell(ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(ray_address, tmp_path_factory.mktemp("studies"))
