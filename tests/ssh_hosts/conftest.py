"""One cluster for the tests of this folder: `ray up` takes most of a minute."""

from collections.abc import Iterator
from pathlib import Path

import namespaced_host
import pytest
from hosts import S3_PORT, Hosts
from onprem import Onprem
from s3_server import S3Server


@pytest.fixture(scope="session")
def namespaces() -> None:
    """Skips where this machine cannot make hosts."""
    if missing := namespaced_host.missing():
        pytest.skip(missing)


@pytest.fixture(scope="module")
def onprem(namespaces: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Onprem]:
    """A head that takes no workers of lanes, two workers of one CPU each, and an S3 server that all of them reach."""
    with Hosts(count=3) as hosts:
        s3 = S3Server(tmp_path_factory.mktemp("s3"), hosts.storage.address, hosts.storage.in_its_network, S3_PORT)
        try:
            s3.start()
            cluster = Onprem(hosts, head_cpus=0, worker_cpus=1)
            cluster.up()
            with cluster.nodes() as nodes:
                nodes.until(lambda names: len(names) == 3, seconds=180)
            cluster.forward_dashboard()
            yield cluster
        finally:
            s3.kill()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """Of the job that a test submits; shown where the test fails."""
    path = tmp_path / "job.log"
    yield path
    if path.exists():
        print(path.read_text()[-8000:])
