"""Data for tests: the real sets where they are, and tiny ones made on the spot. And how tests run side by side."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from postgres_server import PostgresServer, installed
from s3_server import BUCKET, S3Server

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


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Figures that tests measured, which none of them asserts."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")


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
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
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


def add_pair(data_dir: Path, part: str, id: str, seed: int) -> None:
    image_path, mask_path = (data_dir / "isic2016" / f"ISBI2016_ISIC_Part1_{part}_{k}" for k in ("Data", "GroundTruth"))
    image_path.mkdir(parents=True, exist_ok=True)
    mask_path.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    left, top = rng.integers(0, 15, 2)
    mask_HW = np.zeros((30, 40), np.uint8)
    mask_HW[top : top + 12, left : left + 20] = 255
    image_HW3 = rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(image_HW3).save(image_path / f"{id}.jpg", quality=95)
    Image.fromarray(mask_HW).save(mask_path / f"{id}_Segmentation.png")
