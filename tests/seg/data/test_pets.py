"""Oxford-IIIT Pet: official lists, trimaps as three classes or two."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seg import data
from seg.data.sample import DataError, MissingData

TRIMAP = np.array([[1, 2], [3, 1]], np.uint8)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Four pets of 2×2 pixels, two to train and two to test."""
    root = tmp_path / "oxford-iiit-pet"
    (root / "images").mkdir(parents=True)
    (root / "annotations" / "trimaps").mkdir(parents=True)
    for name in ("Abyssinian_1", "Abyssinian_2", "pug_1", "pug_2"):
        Image.new("RGB", (2, 2)).save(root / "images" / f"{name}.jpg")
        Image.fromarray(TRIMAP).save(root / "annotations" / "trimaps" / f"{name}.png")
    (root / "annotations" / "trainval.txt").write_text("#Image CLASS-ID SPECIES\nAbyssinian_1 1 1 1\npug_1 25 2 18\n")
    (root / "annotations" / "test.txt").write_text("Abyssinian_2 1 1 1\npug_2 25 2 18\n")
    return tmp_path


def test_trimaps_are_three_classes(pets: Path) -> None:
    found = data.load("pets", pets)
    assert found.class_names == ("background", "pet", "border")
    assert [(sample.id, sample.split) for sample in found.samples] == [
        ("Abyssinian_1", "train"),
        ("pug_1", "train"),
        ("Abyssinian_2", "test"),
        ("pug_2", "test"),
    ]
    assert found.samples[0].mask().tolist() == [[1, 0], [2, 1]]
    assert found.remark == "2 of 3680 training, 2 of 3669 test images"


def test_in_the_binary_variant_the_border_is_pet(pets: Path) -> None:
    found = data.load("pets_binary", pets)
    assert (found.name, found.class_names) == ("pets_binary", ("background", "pet"))
    assert found.samples[0].mask().tolist() == [[1, 0], [1, 1]]


def test_an_image_in_both_lists(pets: Path) -> None:
    path = pets / "oxford-iiit-pet" / "annotations" / "test.txt"
    path.write_text(path.read_text() + "pug_1 25 2 18\n")
    with pytest.raises(DataError, match=r"1 image\(s\) both to train and to test: pug_1 is in trainval"):
        data.load("pets", pets)


@pytest.mark.parametrize("name", ["../images/pug_1", "/etc/passwd"])
def test_a_list_that_names_something_elsewhere(pets: Path, name: str) -> None:
    (pets / "oxford-iiit-pet" / "annotations" / "test.txt").write_text(f"{name} 1 1 1\n")
    with pytest.raises(DataError, match=r"test.txt: '.*' is no name of an image in images/"):
        data.load("pets", pets)


def test_a_list_that_names_missing_files(pets: Path) -> None:
    root = pets / "oxford-iiit-pet"
    (root / "images" / "pug_1.jpg").unlink()
    (root / "annotations" / "trimaps" / "pug_2.png").unlink()
    with pytest.raises(DataError, match=r"trainval.txt names pug_1, but images/pug_1.jpg is missing") as caught:
        data.load("pets", pets)
    assert len(caught.value.problems) == 2


def test_a_list_that_is_not_there_or_empty(pets: Path) -> None:
    path = pets / "oxford-iiit-pet" / "annotations" / "test.txt"
    path.write_text("\n")
    with pytest.raises(DataError, match=r"test.txt: names no image"):
        data.load("pets", pets)
    path.unlink()
    with pytest.raises(DataError, match=r"test.txt: the list cannot be read"):
        data.load("pets", pets)


def test_a_trimap_with_another_number(pets: Path) -> None:
    path = pets / "oxford-iiit-pet" / "annotations" / "trimaps" / "pug_1.png"
    Image.fromarray(np.full((2, 2), 4, np.uint8)).save(path)
    with pytest.raises(DataError, match=r"pug_1.png: cannot be read \(holds the value 4, a trimap has 1"):
        data.load("pets", pets).samples[1].mask()


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match=r"pets is not there; .*unpack images.tar.gz and annotations.tar.gz"):
        data.load("pets", tmp_path, download=False)


def test_the_real_subset(data_dir: Path) -> None:
    found = data.load("pets", data_dir, download=False)
    assert found.remark == "300 of 3680 training, 298 of 3669 test images"
    image_HW3, mask_HW = found.read(found.samples[0])
    assert image_HW3.shape[:2] == mask_HW.shape and np.unique(mask_HW).tolist() == [0, 1, 2]
