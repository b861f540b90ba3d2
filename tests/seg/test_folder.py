"""A user's own folder: what its files mean, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seg import data, pack, split
from seg.data.sample import DataError, Dataset, MissingData

Fill = Callable[..., Path]


@pytest.fixture
def own(tmp_path: Path) -> Fill:
    """own(masks): a folder with one 4×3 image for each mask given as its values."""

    def fill(masks: list[list[int]], start: int = 0) -> Path:
        for kind in ("images", "masks"):
            (tmp_path / kind).mkdir(exist_ok=True)
        for number, values in enumerate(masks, start):
            Image.new("RGB", (4, 3), (number, 0, 0)).save(tmp_path / "images" / f"p{number:02d}.jpg")
            mask = np.resize(np.array(values, np.uint8), (3, 4))
            Image.fromarray(mask).save(tmp_path / "masks" / f"p{number:02d}.png")
        return tmp_path

    return fill


def load(folder: Path) -> Dataset:
    return data.load("folder", folder)


def test_0_and_255_are_background_and_foreground(own: Fill) -> None:
    found = load(own([[0, 255], [0], [255]] + [[0, 255]] * 7))
    assert found.class_names == ("background", "foreground")
    assert np.unique(found.samples[0].mask()).tolist() == [0, 1]
    assert np.unique(found.samples[2].mask()).tolist() == [1]


def test_other_numbers_are_classes_and_255_is_not_counted(own: Fill) -> None:
    found = load(own([[0, 1, 255], [0, 3]] * 5))
    assert found.class_names == ("background", "class1", "class2", "class3")
    assert np.unique(found.samples[0].mask()).tolist() == [0, 1, 255]


def test_classes_txt_names_them(own: Fill) -> None:
    folder = own([[0, 1], [0, 2]] * 5)
    (folder / "classes.txt").write_text("skin\nnaevus\n\nmelanoma\n")
    assert load(folder).class_names == ("skin", "naevus", "melanoma")


def test_a_folder_named_folder_will_do_as_well(own: Fill, tmp_path: Path) -> None:
    inner = own([[0, 255]] * 10)
    (tmp_path / "outer" / "folder").mkdir(parents=True)
    for kind in ("images", "masks"):
        (inner / kind).rename(tmp_path / "outer" / "folder" / kind)
    assert len(load(tmp_path / "outer").samples) == 10


@pytest.mark.parametrize("count", [3, 4, 10, 50])
def test_no_split_is_empty_and_an_image_keeps_its_own(own: Fill, count: int, tmp_path: Path) -> None:
    folder = own([[0, 255]] * count)
    before = split.assign(load(folder).samples)
    assert set(before.values()) == {"train", "val", "test"}
    after = split.assign(load(own([[0, 255]] * 5, start=count)).samples)
    if count == 50:
        assert {id: after[id] for id in before} == before
        assert 5 <= list(before.values()).count("test") <= 16


def test_splits_csv_decides(own: Fill) -> None:
    folder = own([[0, 255]] * 4)
    (folder / "splits.csv").write_text("split,id\ntrain,p00\nval,p01.jpg\ntest,p02\ntrain,p03\n")
    assert split.assign(load(folder).samples) == {"p00": "train", "p01": "val", "p02": "test", "p03": "train"}


def test_without_val_in_splits_csv_it_is_cut_from_train(own: Fill) -> None:
    folder = own([[0, 255]] * 4)
    (folder / "splits.csv").write_text("id,split\np00,train\np01,train\np02,test\np03,train\n")
    found = split.assign(load(folder).samples)
    assert found["p02"] == "test" and list(found.values()).count("val") == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name,part\np00,train\n", "its first line must name the columns id and split"),
        ("id,split\np99,train\n", "line 2: 'p99' is no image in images/"),
        ("id,split\np00,training\n", "line 2: 'training' is no split; choose from train, val, test"),
        ("id,split\np00,train\np01,test\np00,test\n", "line 4: p00 is in train already; remove one"),
        ("id,split\np00,train\np00,train\n", "line 3: p00 is in train already; remove one"),
        ("id,split\np00,train\np01,val\np02,val\np03,train\n", "2 train, 2 val, 0 test; a study needs images to"),
        ("id,split\np00,train\np01,test\np02,test\np03,test\n", "1 train, 0 val, 3 test; a study needs images to"),
        ("id,split\np00,train\n", "3 image\\(s\\) have no line, p01 among them"),
    ],
)
def test_a_splits_csv_that_is_wrong(own: Fill, text: str, said: str) -> None:
    folder = own([[0, 255]] * 4)
    (folder / "splits.csv").write_text(text)
    with pytest.raises(DataError, match=f"splits.csv: {said}"):
        load(folder)


def test_files_without_a_partner(own: Fill) -> None:
    folder = own([[0, 255]] * 4)
    (folder / "masks" / "p01.png").unlink()
    (folder / "images" / "p02.jpg").unlink()
    with pytest.raises(DataError, match=r"2 file\(s\) without a partner: .*p01.jpg: no mask of this name") as caught:
        load(folder)
    assert len(caught.value.problems) == 2


def test_two_images_of_one_name(own: Fill) -> None:
    folder = own([[0, 255]] * 4)
    Image.new("RGB", (4, 3)).save(folder / "images" / "p01.png")
    with pytest.raises(DataError, match=r"p01.png: has the same name as p01.jpg"):
        load(folder)


@pytest.mark.parametrize("names", [("skin", "lesion"), ("skin", "naevus", "melanoma")])
def test_a_value_beyond_the_named_classes(own: Fill, names: tuple[str, ...], tmp_path: Path) -> None:
    folder = own([[0, 1, 255]] * 4 + [[0, 7]])
    (folder / "classes.txt").write_text("\n".join(names))
    said = rf"p04.png: .*holds the value 7; it may hold 0 to {len(names) - 1} \({', '.join(names)}\) and 255"
    with pytest.raises(DataError, match=said):
        pack.build(load(folder), 32, tmp_path / "packs", progress=False)


def test_two_images_are_too_few(own: Fill) -> None:
    with pytest.raises(DataError, match="images: 1 train, 1 val, 0 test; a study needs images to train, to validate"):
        load(own([[0, 255]] * 2))


@pytest.mark.parametrize(
    ("masks", "said"),
    [([[0]] * 4, "every mask is empty"), ([[0, 90], [13, 200]] * 2, "numbers up to 200 look like gray values")],
)
def test_masks_that_are_none(own: Fill, masks: list[list[int]], said: str) -> None:
    with pytest.raises(DataError, match=said):
        load(own(masks))


def test_a_mask_in_colour(own: Fill) -> None:
    folder = own([[0, 255]] * 4)
    Image.new("RGB", (4, 3), (255, 0, 0)).save(folder / "masks" / "p02.png")
    with pytest.raises(DataError, match=r"p02.png: cannot be read \(is in colour; save the class numbers"):
        load(folder)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match="no folders images/ and masks/ in it"):
        load(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    with pytest.raises(DataError, match="images: holds no file; put your images there"):
        load(tmp_path)


def test_ten_images_make_a_pack(own: Fill, tmp_path: Path) -> None:
    packed = pack.build(load(own([[0, 255]] * 10)), 32, tmp_path / "packs", progress=False)
    assert len(packed.ids) == 10 and set(packed.splits) == {"train", "val", "test"}
