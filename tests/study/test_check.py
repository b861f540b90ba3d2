"""The dataset doctor finds what is wrong and says what is there."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seg import picture
from seg.data import load
from seg.data.coco import CATEGORIES
from seg.data.doctor import examine, examples, lines
from seg.picture import Panel, contact_sheet
from study import check

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


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A user's folder of twenty sound pairs of 40×30 pixels, with three classes and ignored pixels."""
    folder = tmp_path / "own"
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for number in range(20):
        mask = np.zeros((30, 40), np.uint8)
        mask[5:15, 5:20], mask[:2] = 2 if number == 7 else 1, 255
        Image.new("RGB", (40, 30), (10 * number, 90, 90)).save(folder / f"images/p{number:02d}.png")
        Image.fromarray(mask).save(folder / f"masks/p{number:02d}.png")
    return folder


def test_every_problem_of_every_kind_in_one_pass(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (own / "masks/p01.png").unlink()
    os.truncate(own / "images/p02.png", 60)
    os.truncate(own / "masks/p03.png", 60)
    Image.fromarray(np.eye(9, dtype=np.uint8)).save(own / "masks/p04.png")
    Image.new("L", (40, 30), 70).save(own / "masks/p05.png")
    (own / "splits.csv").write_text("id,split\np99,train\n")
    assert check.main(["folder", "--data", str(own)]) == 2
    errors = capsys.readouterr().err
    for said in (
        "images/p01.png: no mask of this name",
        "line 2: 'p99' is no image in images/",
        "20 image(s) have no line",
        "images/p02.png: cannot be read",
        "masks/p03.png: cannot be read",
        "masks/p04.png: the mask is 9×9 pixels, its image p04.png is 40×30",
        "numbers up to 70 look like gray values, not classes, in 1 mask (p05.png)",
    ):
        assert errors.count(said) == 1, said
    assert "Each image in" in errors and "Correct splits.csv." in errors


def test_many_problems_of_one_kind_hide_no_other(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(25):
        Image.new("RGB", (40, 30)).save(own / f"images/alone_{number:02d}.png")
    os.truncate(own / "masks/p03.png", 60)
    assert check.main(["folder", "--data", str(own)]) == 2
    errors = capsys.readouterr().err
    assert "error: and 5 more" in errors and "masks/p03.png: cannot be read" in errors


def test_a_misspelt_folder_is_one_line(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["folder", "--data", str(own.with_name("won"))]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("error: no such folder") and f"did you mean {own}?" in errors and errors.count("\n") == 1
    assert not own.with_name("won").exists()


def test_what_was_understood_and_a_contact_sheet(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(own.rglob("*"))
    assert check.main(["folder", "--data", str(own), "--out", str(tmp_path / "sheet.png")]) == 0
    shown = capsys.readouterr().out
    assert "0 = background, 1 = class1, 2 = class2, 255 = ignored (6.7% of the pixels)" in shown
    assert f"contact sheet {tmp_path / 'sheet.png'}" in shown
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 1000 and sheet.height > 700
        colours = {colour for _, colour in sheet.convert("RGB").getcolors(1 << 20) or []}
    assert {tuple(colour) for colour in picture.COLOURS[1:3].tolist()} <= colours, "both classes are in it"
    assert sorted(own.rglob("*")) == before


def test_without_a_name_the_sheet_is_in_the_temporary_folder(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    assert check.main(["folder", "--data", str(own)]) == 0
    [made] = (tmp_path / "temporary").iterdir()
    assert str(made) in capsys.readouterr().out and made.suffix == ".png"


def test_no_sheet_among_the_users_files(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["folder", "--data", str(own), "--out", str(own / "sheet.png")]) == 2
    assert "name a place outside of your data" in capsys.readouterr().err
    assert check.main(["folder", "--data", str(own), "--out", str(own.parent / "none" / "sheet.png")]) == 2
    assert "cannot be written (No such file or directory)" in capsys.readouterr().err


def test_examples_are_of_every_split_and_class(own: Path) -> None:
    found = examples(examine(load("folder", own), progress=False))
    assert len(found) == 12 and {finding.split for finding in found} == {"train", "val", "test"}
    assert "p07" in [finding.id for finding in found]


def test_a_contact_sheet_of_many_classes_and_odd_shapes() -> None:
    panels = [
        Panel("a" * 200, "train", np.zeros((4, 900, 3), np.uint8), np.full((4, 900), 30, np.uint8)),
        Panel("b", "val", np.zeros((900, 4, 3), np.uint8), np.full((900, 4), 255, np.uint8)),
    ]
    sheet = contact_sheet("many", panels, ["nothing", *(f"a long name of class {n}" for n in range(1, 40))])
    assert sheet.width < 700 and sheet.height > 400
