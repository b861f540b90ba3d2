"""Data for tests: the real sets where they are, and tiny ones made on the spot. And how tests run side by side."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from debian import left_out, not_installed
from postgres_server import PostgresServer, installed
from s3_server import BUCKET, S3Server
from tiny_images import add_pair

if "PYTEST_XDIST_WORKER" in os.environ:
    # As many threads as cores, in each of the processes side by side, would wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """File by file where tests run side by side; those that start a Ray, one after the other."""
    from xdist.scheduler import LoadScopeScheduling

    class OneRay(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "ray" if file.endswith("_e2e.py") else file

    return OneRay(config, log)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: Any) -> Iterator[None]:
    """Figures that tests measured, which none of them asserts; last, after pytest's own lists, what was left out."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")
    yield
    if skipped := terminalreporter.getreports("skipped"):
        terminalreporter.write_line(left_out([report.longrepr[2].removeprefix("Skipped: ") for report in skipped]))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Where tests run side by side, those that start a Ray take longest: the others get what they leave."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        with contextlib.suppress(PermissionError):  # only root may be more important again
            os.setpriority(os.PRIO_PROCESS, 0, 0 if item.path.name.endswith("_e2e.py") else 19)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with the real datasets: $STUDY_DATA, else ../shared/data beside the project; else skip."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("STUDY_DATA") or beside)
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}; name its folder in STUDY_DATA")
    return folder


@pytest.fixture(scope="session")
def real_data(data_dir: Path) -> Path:
    """data_dir, where it has the real ISIC images; else skip."""
    if not (data_dir / "isic2016").is_dir():
        pytest.skip(f"no isic2016 in {data_dir}; name the folder that has it in STUDY_DATA")
    return data_dir


@pytest.fixture(scope="session")
def weights_dir(data_dir: Path) -> Path:
    """The folder with ImageNet weights of the encoders, data_dir/weights; else skip."""
    folder = data_dir / "weights"
    if not (folder / "mobilenet_v2.pth").is_file():
        pytest.skip(f"no mobilenet_v2.pth in {folder}; name the data folder in STUDY_DATA")
    return folder


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A running S3 server, the environment set so that every client uses it, with one empty bucket."""
    import s3fs

    server = S3Server(tmp_path_factory.mktemp("s3"))
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, 0)  # for all of its tests, whoever is the first
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem(skip_instance_cache=True).mkdir(BUCKET)
        yield server
    server.kill()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A running PostgreSQL server; skip where none is installed."""
    if not installed():
        pytest.skip(not_installed("postgresql"))
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def tiny_isic(tmp_path: Path) -> Path:
    """A data folder whose `isic2016` holds ten training and three test images of 40×30 pixels."""
    data_dir = tmp_path / "data"
    for part, count in (("Training", 10), ("Test", 3)):
        for number in range(count):
            add_pair(data_dir, part, f"ISIC_{part}_{number:03d}", seed=number + 100 * (part == "Test"))
    return data_dir
