"""The dataset doctor finds what is wrong and says what is there."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seg.data import load
from seg.data.coco import CATEGORIES
from study import check
from study.doctor import examine, lines

TRAINING = Path("isic2016/ISBI2016_ISIC_Part1_Training_Data")
TRAINING_MASKS = Path("isic2016/ISBI2016_ISIC_Part1_Training_GroundTruth")
TEST = Path("isic2016/ISBI2016_ISIC_Part1_Test_Data")


def test_a_sound_dataset(tiny_isic: Path) -> None:
    report = examine(load("isic2016", tiny_isic), progress=False)
    assert report.problems == ()
    assert report.duplicates() == report.empty() == []
    lesion = 12 * 20 / (30 * 40)
    np.testing.assert_allclose(report.class_shares(), [[1 - lesion, 1.0], [lesion, 1.0]])
    text = "\n".join(lines(report))
    assert "13 images, 13 of them usable" in text
    assert "10 of 900 training, 3 of 379 test images" in text
    assert "smallest 40×30" in text
    assert "20.00%" in text


def test_duplicates_within_and_across_splits(tiny_isic: Path) -> None:
    folder = tiny_isic / TRAINING
    shutil.copy(folder / "ISIC_Training_000.jpg", tiny_isic / TEST / "ISIC_Test_000.jpg")
    with Image.open(tiny_isic / TEST / "ISIC_Test_001.jpg") as image:
        image.save(tiny_isic / TEST / "ISIC_Test_002.jpg", "png")  # other bytes, same pixels
    report = examine(load("isic2016", tiny_isic), progress=False)
    groups = {frozenset(finding.id for finding in group) for group in report.duplicates()}
    assert groups == {
        frozenset({"ISIC_Training_000", "ISIC_Test_000"}),
        frozenset({"ISIC_Test_001", "ISIC_Test_002"}),
    }
    text = "\n".join(lines(report))
    assert "within a split: 1: ISIC_Test_001 (test) = ISIC_Test_002 (test)" in text
    assert "across splits: 1: ISIC_Training_000" in text
    assert report.problems == ()


def test_empty_masks_are_listed(tiny_isic: Path) -> None:
    Image.new("L", (40, 30)).save(tiny_isic / TRAINING_MASKS / "ISIC_Training_003_Segmentation.png")
    report = examine(load("isic2016", tiny_isic), progress=False)
    assert [finding.id for finding in report.empty()] == ["ISIC_Training_003"]
    assert report.class_shares()[1, 1] == pytest.approx(12 / 13)


def test_command_on_a_sound_dataset(tiny_isic: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["isic", "--data", str(tiny_isic)]) == 0
    shown = capsys.readouterr()
    assert "13 of them usable" in shown.out
    assert shown.err == ""


def test_command_lists_every_unreadable_file(tiny_isic: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.truncate(tiny_isic / TRAINING / "ISIC_Training_000.jpg", 300)
    Image.new("L", (41, 30)).save(tiny_isic / TRAINING_MASKS / "ISIC_Training_001_Segmentation.png")
    assert check.main(["isic", "--data", str(tiny_isic)]) == 2
    shown = capsys.readouterr()
    errors = shown.err.splitlines()
    assert len(errors) == 2
    assert all(line.startswith("error: ") for line in errors)
    assert "ISIC_Training_000.jpg: cannot be read" in errors[0]
    assert "the mask is 41×30 pixels" in errors[1]
    assert "13 images, 11 of them usable" in shown.out


def test_command_shows_at_most_twenty_problems(tiny_isic: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(25):
        shutil.copy(tiny_isic / TRAINING / "ISIC_Training_000.jpg", tiny_isic / TRAINING / f"alone_{number:02d}.jpg")
    assert check.main(["isic", "--data", str(tiny_isic)]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 21
    assert "alone_00.jpg: no mask alone_00_Segmentation.png" in errors[0]
    assert errors[-1] == "error: and 5 more"


@pytest.mark.parametrize(
    ("spec", "data", "expected"),
    [("isic", "nowhere", "isic2016 is not there"), ("no-such-spec", ".", "no-such-spec")],
)
def test_command_on_nothing(
    spec: str, data: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check.main([spec, "--data", str(tmp_path / data)]) == 2
    shown = capsys.readouterr()
    assert expected in shown.err
    assert shown.err.count("\n") == 1


def test_a_datasets_own_name_will_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["pets_binary", "--data", str(tmp_path)]) == 2
    assert "the dataset pets_binary is not there" in capsys.readouterr().err


def test_what_was_left_out_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "coco" / "val2017"
    folder.mkdir(parents=True)
    (tmp_path / "coco" / "annotations").mkdir()
    square = [1, 1, 9, 1, 9, 9, 1, 9]
    for number in range(10):
        Image.new("RGB", (20, 20), (number, 0, 0)).save(folder / f"{number}.jpg")
    objects = [{"image_id": n, "category_id": 1, "segmentation": [square]} for n in range(10)]
    objects.append({"image_id": 3, "category_id": 2, "segmentation": [[1, 1, 5, 5]]})
    content = {
        "images": [{"id": n, "file_name": f"{n}.jpg", "height": 20, "width": 20} for n in range(10)],
        "annotations": [{"id": place, "iscrowd": 0, **one} for place, one in enumerate(objects)],
        "categories": [{"id": number, "name": name} for number, name in CATEGORIES.items()],
    }
    (tmp_path / "coco" / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    assert check.main(["coco", "--data", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "train 8, val 1, test 1" in shown
    assert "left out      1: instances_val2017.json: annotation 10 of image 3: a polygon of 4 numbers" in shown


def test_the_real_subset(real_data: Path) -> None:
    report = examine(load("isic2016", real_data, download=False), progress=False)
    assert report.problems == ()
    assert 0.15 < report.class_shares()[1, 0] < 0.35
