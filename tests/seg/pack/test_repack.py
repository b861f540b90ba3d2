"""What of a dataset is decoded for a pack, and what is taken from an earlier one; large JPEGs at a fraction."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seg import pack
from seg.data import Dataset, load
from seg.data.folder import load as load_folder
from seg.data.image_file import FileSample
from seg.data.sample import Sample
from seg.pack.packing import Packing, Row, resize_image


@pytest.fixture
def tiny(tiny_isic: Path) -> Dataset:
    return load("isic2016", tiny_isic)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "packs"


def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the samples that are decoded from now on."""
    found, decode = list[str](), Packing._decode

    def noted(self: Packing, sample: Sample) -> Row:
        found.append(sample.id)
        return decode(self, sample)

    monkeypatch.setattr(Packing, "_decode", noted)
    return found


def test_an_added_image_is_all_that_is_decoded(
    tiny: Dataset, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = pack.build(tiny, 16, tmp_path / "elsewhere", progress=False)
    pack.build(dataclasses.replace(tiny, samples=tiny.samples[:5] + tiny.samples[8:]), 16, root, progress=False)
    pack.build(dataclasses.replace(tiny, samples=tiny.samples[:4] + tiny.samples[8:]), 16, root, progress=False)
    ids = decoded(monkeypatch)
    made = pack.build(tiny, 16, root)
    assert sorted(ids) == sorted(sample.id for sample in tiny.samples[5:8])
    assert " s, 10 of them from an earlier pack: " in capsys.readouterr().err
    for name in ("images_NHW3", "masks_NHW", "native_sizes_hw", "class_pixels_NC"):
        np.testing.assert_array_equal(getattr(made, name), getattr(whole, name))
    assert (made.key, made.ids, made.splits) == (whole.key, whole.ids, whole.splits)


def test_a_changed_file_is_decoded_again(tiny: Dataset, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack.build(tiny, 16, root, progress=False)
    changed = tiny.samples[3]
    assert isinstance(changed, FileSample)
    Image.new("RGB", (40, 30), "red").save(changed.image_path)
    ids = decoded(monkeypatch)
    made = pack.build(tiny, 16, root, progress=False)
    assert ids == [changed.id]
    assert (made.images_NHW3[made.ids.index(changed.id)] == [254, 0, 0]).all()


@pytest.mark.parametrize("spoilt", ["other classes", "damaged"])
def test_nothing_is_taken_from_a_pack(tiny: Dataset, root: Path, monkeypatch: pytest.MonkeyPatch, spoilt: str) -> None:
    """Of other classes: the same file may mean something else there."""
    earlier = pack.build(dataclasses.replace(tiny, samples=tiny.samples[:12]), 16, root, progress=False)
    if spoilt == "damaged":
        content = bytearray((earlier.folder / "images.npy").read_bytes())
        content[-5] ^= 0xFF
        (earlier.folder / "images.npy").write_bytes(content)
        now = tiny
    else:
        now = dataclasses.replace(tiny, class_names=("background", "mole"))
    ids = decoded(monkeypatch)
    pack.build(now, 16, root, progress=False)
    assert len(ids) == 13


def test_masks_that_mean_something_else_now_are_read_again(tmp_path: Path) -> None:
    """255 is the lesion if no mask holds anything else, and is ignored if classes.txt says so."""
    dataset = photographs(tmp_path, size=(64, 64), values=(0, 255))
    (tmp_path / "data/classes.txt").write_text("skin\nlesion\n")
    first = pack.build(load_folder(tmp_path / "data"), 64, tmp_path / "packs", progress=False)
    assert set(np.unique(first.masks_NHW)) == {0, 1} and len(dataset.samples) == 4
    (tmp_path / "data/classes.txt").write_text("skin\nlesion\n255 ignored\n")
    Image.fromarray(np.ones((64, 64), np.uint8)).save(tmp_path / "data/masks/e.png")
    Image.new("RGB", (64, 64)).save(tmp_path / "data/images/e.jpg")
    second = pack.build(load_folder(tmp_path / "data"), 64, tmp_path / "packs", progress=False)
    assert set(np.unique(second.masks_NHW[:4])) == {0, 255} and (second.masks_NHW[4] == 1).all()


def test_large_jpegs_are_decoded_at_a_fraction_of_their_size(tmp_path: Path) -> None:
    """Hardly anything of it is seen at the pack's size."""
    dataset = photographs(tmp_path, size=(640, 480))
    made = pack.build(dataset, 64, tmp_path / "packs", progress=False)
    sizes, differences = [], []
    for index, sample in enumerate(sorted(dataset.samples, key=lambda sample: sample.id)):
        sizes.append(sample.image(128).shape)
        exact = resize_image(sample.image(), 64)
        differences.append(np.abs(made.images_NHW3[index].astype(int) - exact))
    assert set(sizes) == {(240, 320, 3)}
    assert np.mean(differences) < 1 and np.max(differences) < 16


def photographs(folder: Path, size: tuple[int, int], values: tuple[int, int] = (0, 1)) -> Dataset:
    """Smooth and noisy regions, quality 90."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / "data" / kind).mkdir(parents=True)
    for name in "abcd":
        coarse = rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)).astype(int)
        pixels = np.clip(smooth + rng.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"data/images/{name}.jpg", quality=90)
        mask = np.where(smooth[..., 0] > 128, values[1], values[0]).astype(np.uint8)
        Image.fromarray(mask).save(folder / f"data/masks/{name}.png")
    return load_folder(folder / "data")
