"""Every published configuration runs to its test scores on the data that is here, and they stand in one table."""

import csv
import io
import math
from pathlib import Path
from typing import Any

import pytest

from study.spec import bundled, load_spec
from study.store import Store
from study.store.records import Record, State, read_records

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

PUBLISHED = [name for name in bundled() if name.startswith("published/")]
STUDIES: dict[str, tuple[str, ...]] = {
    "isic": (),
    "coco": ("--set", "encoder.weights=none"),  # of its encoders, the data of the tests has no weights
    "published/r4-unet": (),
}


FEW = 48
"""Files of a folder, or lines of a list."""


@pytest.fixture(scope="module")
def some_data(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first images of each split of ISIC and the pets, all of COCO's and of the weights."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("coco", "weights"):
        (folder / name).symlink_to(data_dir / name)
    for part in sorted((data_dir / "isic2016").glob("*/")):
        (folder / "isic2016" / part.name).mkdir(parents=True)
        for path in sorted(part.iterdir())[:FEW]:
            (folder / "isic2016" / part.name / path.name).symlink_to(path)
    pets = folder / "oxford-iiit-pet"
    (pets / "annotations").mkdir(parents=True)
    (pets / "images").symlink_to(data_dir / "oxford-iiit-pet/images")
    (pets / "annotations/trimaps").symlink_to(data_dir / "oxford-iiit-pet/annotations/trimaps")
    for name in ("trainval.txt", "test.txt"):
        lines = (data_dir / "oxford-iiit-pet/annotations" / name).read_text().splitlines(keepends=True)
        (pets / "annotations" / name).write_text("".join(lines[:FEW]))
    return folder


@pytest.fixture(scope="module")
def studies(shell: Any, some_data: Path) -> dict[str, Path]:
    """An epoch of each at 64 pixels; those of one dataset in one study, whose spec names them."""
    found = {}
    for spec, options in STUDIES.items():
        count = len(load_spec(spec).baselines)
        all_of_them = ("--trials", count, "--set", f"finalists={count}", "--set", "early_stopping.scheduler=none")
        small = ("--epochs", 1, "--image-size", 64, "--no-report", "--data", some_data)
        folder = spec.replace("/", "-")
        shell.study(spec, *all_of_them, *small, *options, "--name", folder)
        found[spec] = shell.storage / folder
    return found


@pytest.fixture(params=PUBLISHED)
def record(request: Any, studies: dict[str, Path]) -> tuple[str, Record]:
    name = load_spec(request.param).baselines[0].name
    (found,) = (r for folder in studies.values() for r in read_records(Store(str(folder))) if r.source == name)
    return request.param, found


def test_there_are_seven() -> None:
    systems = [load_spec(name).baselines[0].system for name in PUBLISHED]
    assert systems == ["R1", "R1", "R2", "R2", "R3", "R3", "R4"]


def test_each_runs_to_its_scores_on_the_test_split(record: tuple[str, Record]) -> None:
    name, found = record
    assert (found.state, len(found.epochs)) == (State.COMPLETE, 1)
    wanted = [column for column in load_spec(name).baselines[0].published if column != "iou_lowest"]
    assert found.test is not None
    row = found.test | found.best
    # A class that no test image holds, and that is predicted nowhere, has no IoU.
    missing = [column for column in wanted if column not in row and not column.startswith("iou_class")]
    assert missing == []
    assert all(math.isfinite(value) for value in found.test.values())


def test_the_table_has_a_row_for_every_published_figure(shell: Any, studies: dict[str, Path]) -> None:
    text = shell.run("analysis.published", *studies.values(), "--format", "csv")
    rows = [row for row in csv.DictReader(io.StringIO(text)) if row["published"]]
    figures = [value for name in PUBLISHED for value in load_spec(name).baselines[0].published.values()]
    found = [float(row["published"]) for row in rows if row["configuration"] in CONFIGURATIONS]
    assert sorted(found) == sorted(figures)


CONFIGURATIONS = {load_spec(name).baselines[0].name for name in PUBLISHED}
