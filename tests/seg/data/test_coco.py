"""COCO: outlines drawn as pycocotools draws them, what is none left out and said, bad files refused in a line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from seg import data
from seg.data import coco, split
from seg.data.sample import DataError, MissingData

NAMES = {1: "person", 2: "bicycle", 3: "car", 4: "motorcycle", 5: "airplane", 44: "bottle"}


def square(left: int, top: int, side: int) -> list[int]:
    return [left, top, left + side, top, left + side, top + side, left, top + side]


def annotation(image: int, category: int, *polygons: Any, **more: Any) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "segmentation": list(polygons), "iscrowd": 0} | more


class Folder:
    """A COCO folder of 20×20 images; `write` makes its annotation file."""

    def __init__(self, data_dir: Path, name: str = "val2017"):
        self.data_dir, self.name = data_dir, name

    def write(self, annotations: list[dict[str, Any]], images: int = 12, **changes: Any) -> Path:
        root = self.data_dir / "coco"
        (root / self.name).mkdir(parents=True, exist_ok=True)
        (root / "annotations").mkdir(exist_ok=True)
        for number in range(images):
            Image.new("RGB", (20, 20), (number, 0, 0)).save(root / self.name / f"{number}.jpg")
        content = {
            "images": [{"id": n, "file_name": f"{n}.jpg", "height": 20, "width": 20} for n in range(images)],
            "annotations": [{"id": place, **one} for place, one in enumerate(annotations)],
            "categories": [{"id": number, "name": name} for number, name in NAMES.items()],
        }
        path = root / "annotations" / f"instances_{self.name}.json"
        path.write_text(json.dumps(content | changes))
        return path


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def people(count: int) -> list[dict[str, Any]]:
    return [annotation(number, 1, square(2, 2, 5)) for number in range(count)]


def by_id(folder: Folder) -> dict[str, Any]:
    return {sample.id: sample for sample in data.load("coco", folder.data_dir).samples}


def test_the_higher_class_wins_where_two_overlap(folder: Folder) -> None:
    folder.write([annotation(0, 3, square(5, 5, 10)), annotation(0, 1, square(0, 0, 10)), *people(12)[1:]])
    mask_HW = by_id(folder)["000000000000"].mask()
    assert mask_HW[2, 2] == 1 and mask_HW[7, 7] == 3 and mask_HW[12, 12] == 3 and mask_HW[17, 17] == 0
    assert (mask_HW == 3).sum() == 100 and (mask_HW == 1).sum() == 75


def test_crowds_and_other_categories_are_no_object(folder: Folder) -> None:
    crowd = {"segmentation": {"size": [20, 20], "counts": [0, 400]}, "iscrowd": 1}
    folder.write([*people(3), annotation(3, 44, square(1, 1, 5)), annotation(4, 1, **crowd), annotation(0, 2, **crowd)])
    found = by_id(folder)
    assert sorted(found) == ["000000000000", "000000000001", "000000000002"]
    assert np.unique(found["000000000000"].mask()).tolist() == [0, 1]


def test_a_run_length_code_that_is_no_crowd_is_drawn(folder: Folder) -> None:
    code = {"size": [20, 20], "counts": [0, 20, 380]}  # the first column
    folder.write([*people(3), annotation(3, 5, segmentation=code)])
    mask_HW = by_id(folder)["000000000003"].mask()
    assert (mask_HW[:, 0] == 5).all() and (mask_HW[:, 1:] == 0).all()


@pytest.mark.parametrize(
    "code",
    [
        {"size": [20, 20], "counts": [0, 20]},
        {"size": [20, 20], "counts": [0, 500]},
        {"size": [20, 20], "counts": [400]},
        {"size": [20, 20], "counts": [-5, 405]},
        {"size": [20, 20], "counts": "abc###"},
        {"size": [10, 10], "counts": [0, 100]},
        {"size": [20, 20]},
    ],
)
def test_a_run_length_code_that_is_damaged_is_left_out(folder: Folder, code: dict[str, Any]) -> None:
    folder.write([*people(3), annotation(3, 5, segmentation=code)])
    found = data.load("coco", folder.data_dir)
    assert len(found.samples) == 3 and "its run-length code is damaged or not of" in found.skipped[0]


@pytest.mark.parametrize(
    ("polygon", "reason"),
    [
        ([1, 1, 5, 5], "a polygon of 4 numbers; three points have 6"),
        ([1, 1, 5, 5, 9, 1, 3], "a polygon of 7 numbers"),
        ([1, 1, 5, 5, 9, 9], "a polygon without area"),
        ([30, 30, 40, 30, 40, 40], "a polygon outside the image"),
        ([1, 1, 5, "x", 9, 1], "a polygon that is not a list of numbers"),
        ("abc", "a polygon that is not a list of numbers"),
    ],
)
def test_what_is_no_outline_is_left_out_and_said(folder: Folder, polygon: Any, reason: str) -> None:
    """An object keeps its other polygons; an image left with nothing is no image of the dataset."""
    folder.write([*people(3), annotation(0, 2, polygon, square(10, 10, 4)), annotation(5, 1, polygon)])
    found = data.load("coco", folder.data_dir)
    assert len(found.samples) == 3
    assert [line.split(": ")[1] for line in found.skipped] == ["annotation 3 of image 0", "annotation 4 of image 5"]
    assert all(reason in line for line in found.skipped)
    assert 2 in by_id(folder)["000000000000"].mask()


def test_the_split_is_8_1_1_by_id_and_always_the_same(folder: Folder) -> None:
    folder.write(people(100), images=100)
    found = split.assign(data.load("coco", folder.data_dir).samples)
    assert [list(found.values()).count(name) for name in split.SPLITS] == [80, 10, 10]
    folder.write(people(100)[::-1], images=100)
    assert split.assign(data.load("coco", folder.data_dir).samples) == found


def test_no_more_images_than_the_published_system_took(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coco, "LIMIT", 10)
    folder.write(people(12))
    found = data.load("coco", folder.data_dir)
    assert found.remark == "10 images of COCO val2017, 10 of 12 with the five classes"
    assert [list(split.assign(found.samples).values()).count(name) for name in split.SPLITS] == [8, 1, 1]


def test_val2014_alone_where_it_is_there_else_every_split(tmp_path: Path) -> None:
    for name in ("train2017", "val2017"):
        Folder(tmp_path, name).write(people(12))
    assert data.load("coco", tmp_path).remark == "12 images of COCO train2017 and val2017"  # the same ids in both
    Folder(tmp_path, "val2014").write(people(6))
    assert data.load("coco", tmp_path).remark == "6 images of COCO val2014"


def test_images_that_are_not_there_are_said(folder: Folder) -> None:
    folder.write(people(12))
    (folder.data_dir / "coco" / "val2017" / "3.jpg").unlink()
    found = data.load("coco", folder.data_dir)
    assert len(found.samples) == 11 and found.skipped[0].endswith("3.jpg: named by the annotations, but not there")


def test_an_image_of_another_size_than_annotated(folder: Folder) -> None:
    folder.write(people(12))
    Image.new("RGB", (21, 20)).save(folder.data_dir / "coco" / "val2017" / "3.jpg")
    with pytest.raises(DataError, match=r"3.jpg: is 21×20 pixels, its annotation says 20×20"):
        by_id(folder)["000000000003"].mask()


def test_the_digest_follows_image_and_outlines(folder: Folder) -> None:
    folder.write(people(12))
    before = by_id(folder)["000000000003"].digest()
    folder.write([*people(3), annotation(3, 1, square(3, 3, 5))])
    assert by_id(folder)["000000000003"].digest() != before


@pytest.mark.parametrize(
    "text",
    [
        "no JSON",
        "[1, 2]",
        '{"images": []}',
        '{"images": [{"id": 1}], "annotations": [], "categories": []}',
        '{"images": [], "annotations": [3], "categories": []}',
        '{"images": [], "annotations": {}, "categories": [{}]}',
    ],
)
def test_a_file_that_is_not_cocos(folder: Folder, text: str) -> None:
    folder.write(people(2)).write_text(text)
    with pytest.raises(DataError, match=r"instances_val2017.json: not a COCO annotation file \(") as caught:
        data.load("coco", folder.data_dir)
    assert "\n" not in str(caught.value)


def test_an_image_without_a_size_or_with_a_word_for_its_number(folder: Folder) -> None:
    for changed in (
        {"height": "20"},
        {"id": "seven"},
        {"file_name": None},
        {"file_name": "../7.jpg"},
        {"file_name": "/7.jpg"},
    ):
        image = {"id": 7, "file_name": "7.jpg", "height": 20, "width": 20} | changed
        folder.write([], images=8).write_text(json.dumps({"images": [image], "annotations": [], "categories": []}))
        with pytest.raises(DataError, match=r"\(image (7|seven) needs id, height and width, and a file_name below"):
            data.load("coco", folder.data_dir)


def test_categories_that_are_absent_or_mean_something_else(folder: Folder) -> None:
    categories = [{"id": 1, "name": "person"}, {"id": 2, "name": "bicycle"}, {"id": 3, "name": "cat"}]
    folder.write(people(2), categories=categories)
    with pytest.raises(DataError, match=r"has no category car \(3\), motorcycle \(4\), airplane \(5\)"):
        data.load("coco", folder.data_dir)


def test_no_image_with_any_of_the_classes(folder: Folder) -> None:
    folder.write([annotation(0, 44, square(1, 1, 5))])
    with pytest.raises(DataError, match="no image with person, bicycle, car, motorcycle, airplane in val2017"):
        data.load("coco", folder.data_dir)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match=r"the dataset coco is not there; .*put annotations/instances_val2014.json"):
        data.load("coco", tmp_path, download=False)
    (tmp_path / "coco" / "annotations").mkdir(parents=True)
    with pytest.raises(DataError, match="no split with both"):
        data.load("coco", tmp_path)


def test_the_real_subset(data_dir: Path) -> None:
    found = data.load("coco", data_dir, download=False)
    assert found.remark == "176 images of COCO train2017 and val2017" and found.skipped == ()
    for sample in found.samples[:5]:
        image_HW3, mask_HW = found.read(sample)
        assert image_HW3.shape[:2] == mask_HW.shape and mask_HW.any()
