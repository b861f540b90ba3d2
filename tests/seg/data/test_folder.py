"""A user's own folder: what its files mean, and what is refused."""

import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seg import data, pack, recode
from seg.data import split
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


def test_a_misspelt_folder_is_not_made(own: Fill, tmp_path: Path) -> None:
    own([[0, 255]] * 4)
    with pytest.raises(MissingData, match=r"no such folder: \S*imagse; did you mean \S*images\?"):
        load(tmp_path / "imagse")
    assert not (tmp_path / "imagse").exists()
    with pytest.raises(MissingData, match=r"no such folder: \S*elsewhere; --data names"):
        load(tmp_path / "elsewhere")


def test_one_of_the_two_folders_is_missing(own: Fill) -> None:
    folder = own([[0, 255]] * 4)
    (folder / "masks").rename(folder / "labels")
    with pytest.raises(MissingData, match="no folder masks/ in it, only images, labels; put your masks there"):
        load(folder)


def refused(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        load(folder)
    return str(caught.value)


def run_advice(message: str) -> None:
    """The first command that the message gives."""
    words = shlex.split(message.split("`")[1])
    assert words[:3] == ["python", "-m", "seg.recode"]
    assert recode.main(words[3:]) == 0


def test_one_mask_of_0_and_1_among_0_and_255(own: Fill) -> None:
    folder = own([[0, 255]] * 4 + [[0, 1]] + [[0]])
    said = refused(folder)
    assert "1 of 5 masks use other numbers than the rest" in said
    assert "p04.png: holds 0 and 1, while 4 other mask(s) hold only 0 and 255" in said
    run_advice(said)
    assert all(np.unique(sample.mask()).tolist() == [0, 1] for sample in load(folder).samples[:5])
    assert len(list((folder / "masks_original").iterdir())) == 6


def test_the_fewer_files_are_named(own: Fill) -> None:
    said = refused(own([[0, 1]] * 7 + [[0, 255]] * 2))
    assert "2 of 9 masks" in said and "p07.png: holds 0 and 255, while 7 other mask(s) hold 0 and 1" in said
    assert "p00.png" not in said and "`python -m study.check folder --data" in said


def test_255_without_a_class_among_several_classes(own: Fill) -> None:
    said = refused(own([[0, 1, 2]] * 7 + [[0, 255]]))
    assert "p07.png: holds 0 and 255" in said and "p00.png" not in said


def test_one_stray_pixel(own: Fill) -> None:
    folder = own([[0, 255]] * 4 + [[1, 0, 0, *[255] * 9]])
    said = refused(folder)
    assert "p04.png: holds 0, 1 and 255 (1 pixel neither 0 nor 255)" in said and "p00.png" not in said
    run_advice(said)
    assert load(folder).samples[4].mask().sum() == 9


def test_a_file_of_one_bit_is_understood_among_0_and_255(own: Fill) -> None:
    folder = own([[0, 255]] * 4)
    with Image.open(folder / "masks" / "p02.png") as mask:
        mask.convert("1").save(folder / "masks" / "p02.png")
    found = load(folder)
    assert "1 file(s) of 1 bit: white = foreground" in found.mask_values
    assert (found.samples[2].mask() == found.samples[1].mask()).all() and found.samples[2].mask().max() == 1


def test_soft_edges_in_some_masks(own: Fill) -> None:
    folder = own([[0, 255]] * 4 + [[0, 0, 0, 0, 0, 97, 254, 254, 254, 254, 254, 254]])
    said = refused(folder)
    assert "1 of 5 masks" in said and "p04.png: holds 0, 97 and 254" in said
    run_advice(said)
    assert load(folder).samples[4].mask().sum() == 6


@pytest.mark.parametrize("classes", [[1], [1, 2, 3]])
def test_ignored_pixels_beside_classes_are_no_mixture(own: Fill, classes: list[int]) -> None:
    found = load(own([[0, *classes, 255]] * 5 + [[0, *classes], [0, 255], [255]]))
    assert found.classes == len(classes) + 1 and "255 = ignored (" in found.mask_values
    assert np.unique(found.samples[6].mask()).tolist() == [0, 255]


def test_classes_txt_can_say_that_255_is_ignored(own: Fill) -> None:
    folder = own([[0, 1]] * 4 + [[0, 255]] * 4)
    (folder / "classes.txt").write_text("skin\nlesion\n255 ignored\n")
    found = load(folder)
    assert found.class_names == ("skin", "lesion")
    assert np.unique(found.samples[4].mask()).tolist() == [0, 255]


@pytest.mark.parametrize(
    ("masks", "said", "recoded"),
    [
        ([[1, 2]] * 4, "no pixel is 0, which is the background; 4 masks (p00.png, p01.png, p02.png, ...)", [0, 1]),
        ([[0, 38]] * 4, "only the numbers 0 and 38, in 4 masks (p00.png", [0, 1]),
        ([[0, 10, 20]] * 4, "numbers with gaps, 0, 10 and 20, in 4 masks (p00.png", [0, 1, 2]),
        ([[0, 0, 0, 0, 0, 90, 255, 255, 255, 255, 255]] * 4, "gray levels between 0 and 255, as of soft edges", [0, 1]),
        ([list(range(0, 31))[:9], list(range(9, 20)), [0, *range(20, 31)]] * 2, "those of objects (instances)", [0, 1]),
    ],
)
def test_numbers_that_are_no_classes(own: Fill, masks: list[list[int]], said: str, recoded: list[int]) -> None:
    folder = own(masks)
    message = refused(folder)
    assert said in message
    run_advice(message)
    found = load(folder)
    assert np.unique([sample.mask() for sample in found.samples]).tolist() == recoded


def test_gray_pictures_name_files_and_a_way_on(own: Fill) -> None:
    said = refused(own([list(range(n, 240, 20)) for n in range(20)]))
    assert "numbers up to 239 look like gray values, not classes, in 20 masks (p00.png, p01.png, p02.png, ...)" in said
    assert "--threshold 1" in said and "classes.txt" in said


@pytest.mark.parametrize("value", [1, 255])
def test_masks_without_a_background(own: Fill, value: int) -> None:
    said = f"every pixel is {value} in 4 masks (p00.png, p01.png, p02.png, ...); save the background as 0"
    assert said in refused(own([[value]] * 4))


def jpeg_masks(folder: Path, values: list[int]) -> None:
    for path in list((folder / "masks").iterdir()):
        rows, columns = np.mgrid[:40, :50]
        inside = ((rows - 20) ** 2 + (columns - 25) ** 2) // 60
        mask = np.array(values, np.uint8)[np.minimum(inside, len(values) - 1)]
        Image.fromarray(mask).save(path.with_suffix(".jpg"), quality=80)
        Image.new("RGB", (50, 40)).save(folder / "images" / f"{path.stem}.jpg")
        path.unlink()


def test_a_jpeg_of_two_levels_needs_a_threshold(own: Fill) -> None:
    folder = own([[0, 255]] * 4)
    jpeg_masks(folder, [255, 0])
    said = refused(folder)
    assert "4 of 4 masks are JPEG files of more than two values" in said and "--threshold 128" in said
    run_advice(said)
    found = load(folder)
    assert found.mask_values == "0 = background, 255 = foreground" and 50 <= found.samples[0].mask().sum() <= 250


def test_class_numbers_in_a_jpeg_cannot_be_repaired(own: Fill) -> None:
    folder = own([[0, 255]] * 4)
    jpeg_masks(folder, [3, 0, 2, 0, 1, 0])
    said = refused(folder)
    assert "p00.jpg" in said and "export these masks again, as PNG" in said


def test_colours_are_named(own: Fill) -> None:
    folder = own([[0, 255]] * 4)
    for path in (folder / "masks").iterdir():
        mask = np.zeros((3, 4, 3), np.uint8)
        mask[1, 1:], mask[2] = (0, 128, 0), (128, 0, 0)
        Image.fromarray(mask).save(path)
    said = refused(folder)
    assert "4 of 4 masks are in colour" in said and "--colours 000000,008000,800000" in said
    run_advice(said)
    assert np.bincount(load(folder).samples[0].mask().ravel()).tolist() == [5, 3, 4]


def test_three_names_and_masks_of_0_and_255(own: Fill) -> None:
    folder = own([[0, 255]] * 4)
    (folder / "classes.txt").write_text("background\ncrack\nspall\n")
    said = refused(folder)
    assert (
        "names 3 classes (background, crack, spall), but 4 masks (p00.png, p01.png, p02.png, ...) hold only 0" in said
    )


def test_three_names_and_masks_of_0_and_1_and_255(own: Fill) -> None:
    folder = own([[0, 1, 255]] * 3 + [[0, 1]])
    (folder / "classes.txt").write_text("background\ncrack\nspall\n")
    said = refused(folder)
    assert "the masks hold 0, 1 and 255; 255 is in 3 masks (p00.png, p01.png, p02.png)" in said
    run_advice(said)
    assert np.unique(load(folder).samples[0].mask()).tolist() == [0, 1, 2]


def test_numbers_with_gaps_under_names(own: Fill) -> None:
    folder = own([[0, 5, 20]] * 4)
    (folder / "classes.txt").write_text("background\ncrack\nspall\n")
    said = refused(folder)
    assert "4 of 4 masks hold numbers that classes.txt does not name" in said and "p00.png: holds the value 5" in said
    run_advice(said)
    assert load(folder).classes == 3


def test_what_is_likely_but_not_certain_is_remarked_on(own: Fill) -> None:
    found = load(own([[0, 1, 255, 255, 255, 255], [0, 0, 0, 3]] * 2))
    ignored, absent = found.warnings
    assert "255 is read as ignored, but covers 33.3% of the pixels" in ignored
    assert absent == "no mask holds 2, though there are higher numbers"


def test_masks_that_count_their_objects_are_remarked_on(own: Fill) -> None:
    [remark] = load(own([[0, 1, 2, 3, 4], [0, 1, 2], [0, 1, 2, 3]])).warnings
    assert "every mask counts up from 1" in remark


def test_every_kind_of_problem_is_found_at_once(own: Fill) -> None:
    folder = own([[0, 255]] * 6 + [[0, 1]])
    (folder / "masks" / "p01.png").unlink()
    (folder / "masks" / "p02.png").write_bytes(b"no image")
    Image.new("RGB", (4, 3), "red").save(folder / "masks" / "p03.png")
    (folder / "splits.csv").write_text("id,split\np99,train\np00,trian\n")
    with pytest.raises(DataError, match=r"7 problems of 5 kinds: .*p01.jpg: no mask .* lists all\.$") as caught:
        load(folder)
    for name in ("p01.jpg", "'p99' is", "'trian' is", "6 image(s) have no line", "p02.png", "p03.png", "p06.png"):
        assert sum(name in problem for problem in caught.value.problems) == 1, name
    assert "\n" not in str(caught.value) and len(caught.value.samples) == 6


def test_masks_are_changed_together_or_not_at_all(own: Fill, capsys: pytest.CaptureFixture[str]) -> None:
    folder = own([[0, 5, 255], [0, 5, 7]]) / "masks"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert recode.main([str(folder), "--values", "0,5"]) == 2
    assert "p01.png: cannot be read (holds 7, which you have not listed)" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert sorted(path.name for path in folder.parent.iterdir()) == ["images", "masks"]
    assert recode.main([str(folder), "--values", "0,5,7"]) == 0
    with Image.open(folder / "p00.png") as mask:
        assert np.unique(np.asarray(mask)).tolist() == [0, 1, 255]
    assert recode.main([str(folder), "--threshold", "1"]) == 2
    assert "masks_original: has masks from before" in capsys.readouterr().err
