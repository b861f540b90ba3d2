"""gpu.yaml from `ray up` to `ray down`, in a region of AWS on this machine (aws_region.py).

One cluster for all tests, in the order of the file: the last one takes it down.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aws_cluster import AwsCluster, fetch
from aws_region import Region
from hosts import S3_PORT, Hosts
from namespaced_host import missing
from own_specs import SEARCHED_BELOW_ROOT
from s3_server import BUCKET, S3Server

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(missing()), reason=missing() or "all there"),
]

ON_A_GPU = """
import ray, socket
ray.init(address="auto")
@ray.remote(num_gpus=1)
def where():
    return socket.gethostname()
print("task on", ray.get(where.remote()), "driver on", socket.gethostname())
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[AwsCluster]:
    with Hosts(count=0) as hosts:
        region = Region(hosts)
        try:
            cluster = AwsCluster(region)
            cluster.up()
            yield cluster
            assert region.errors == []
        finally:
            region.close()


@pytest.fixture(scope="module")
def s3(cluster: AwsCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """With the bucket of studies; every machine's AWS files lead there."""
    storage = cluster.region.hosts.storage
    server = S3Server(tmp_path_factory.mktemp("s3"), storage.address, storage.in_its_network, S3_PORT)
    try:
        server.start()
        cluster.launcher.check(sys.executable, "-c", f"import s3fs; s3fs.S3FileSystem().mkdir({BUCKET!r})")
        yield server
    finally:
        server.kill()


def test_only_the_head_runs_until_there_is_work(cluster: AwsCluster) -> None:
    (head,) = cluster.region.running()
    assert head["type"] == "m7i.xlarge"


def test_the_dashboard_is_on_the_heads_own_localhost(cluster: AwsCluster) -> None:
    address = cluster.head.address
    assert "refused" in fetch(cluster.launcher, f"http://{address}:8265/api/version")
    assert "<title>Ray Dashboard</title>" in fetch(cluster.head, "http://127.0.0.1:8265")


def test_who_has_no_token_is_not_answered(cluster: AwsCluster) -> None:
    jobs = "http://127.0.0.1:8265/api/jobs/"
    assert "401 Unauthorized" in fetch(cluster.head, jobs)
    assert "403 Forbidden" in fetch(cluster.head, jobs, "a-guess")
    stranger = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "a-guess"}
    joined = cluster.launcher.run("ray", "start", f"--address={cluster.head.address}:6379", env=stranger)
    assert joined.returncode != 0
    assert "Ray runtime started" not in joined.stdout


def test_a_worker_is_added_on_demand(cluster: AwsCluster) -> None:
    with cluster.dashboard():
        said = cluster.submit("python", "-c", ON_A_GPU).communicate(timeout=240)[0]
    (worker,) = cluster.region.running("g6.xlarge")
    host = cluster.region.host(worker)
    assert f"task on {host.name} driver on {cluster.head.name}" in said, said
    # Which waits for AWS's notice: no machine here has metadata.
    watching = any("study.spot_notice" in line for line in host.processes().values())
    assert watching or "is it one of AWS?" in host.check("sh", "-c", "cat ~/spot_notice.log")


def test_what_aws_takes_back_is_replaced(cluster: AwsCluster) -> None:
    (worker,) = cluster.region.running("g6.xlarge")
    cluster.reclaim(worker)
    with cluster.dashboard():
        said = cluster.submit("python", "-c", ON_A_GPU).communicate(timeout=240)[0]
    (other,) = cluster.region.running("g6.xlarge")
    assert other["id"] != worker["id"]
    assert f"task on {cluster.region.host(other).name}" in said, said


def test_a_study_has_a_worker_come_for_it(cluster: AwsCluster, s3: S3Server) -> None:
    """On CPUs, as no host here has a GPU: three lanes of four, and the worker that is there has room for one."""
    where = ["--storage", "s3://studies/lab", "--name", "aws", "--address", "auto"]
    small = ["--trials", "3", "--epochs", "2", "--image-size", "64", "--gpus-per-worker", "0", "--no-report"]
    with cluster.dashboard():
        job = cluster.submit("python", "-m", "study.run", SEARCHED_BELOW_ROOT, *where, *small)
        said = job.communicate(timeout=600)[0]
    assert job.returncode == 0, said
    assert "joined: room for " in said and "all trials done" in said, said
    assert len(cluster.region.running()) > 2, "the head, the worker that was there, and what was added"


def test_down_leaves_nothing(cluster: AwsCluster) -> None:
    cluster.down()
    assert cluster.region.running() == []
    assert not any(Path(f"/proc/{host.init}").exists() for host in cluster.region.hosts)
