"""Image files as people have them: gray, transparent, turned, in 16 bits."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seg.data.image_file import ORIENTATION, FileSample, image_size_hw, mask_values, read_image
from seg.data.sample import DataError


@pytest.fixture
def picture() -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8))


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA", "P", "1", "CMYK"])
def test_every_8_bit_mode_becomes_rgb(picture: Image.Image, tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    picture.convert(mode).save(path)
    found = read_image(path)
    assert found.shape == (20, 30, 3) and found.dtype == np.uint8
    assert np.array_equal(found, np.asarray(picture.convert(mode).convert("RGB")))


def test_transparency_hides_nothing(picture: Image.Image, tmp_path: Path) -> None:
    clear = picture.copy()
    clear.putalpha(0)
    clear.save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png"), np.asarray(picture))


def test_a_16_bit_channel_is_refused_with_what_to_do(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 3000, np.uint16)).save(tmp_path / "scan.png")
    with pytest.raises(DataError, match=r"scan.png: its pixels have more than 8 bits .*convert it to an 8-bit PNG"):
        read_image(tmp_path / "scan.png")
    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(tmp_path / "scan.tif")
    with pytest.raises(DataError, match=r"scan.tif: its pixels have more than 8 bits a channel \(F\)"):
        read_image(tmp_path / "scan.tif")


@pytest.mark.parametrize(("kind", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_16_bit_colour_which_pillow_would_cut_is_refused(tmp_path: Path, kind: int, channels: int) -> None:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = (b"\0" + bytes(2 * channels * 5)) * 4
    header = struct.pack(">IIBBBBB", 5, 4, 16, kind, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "scan.png").write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    with pytest.raises(DataError, match=r"scan.png: its pixels have more than 8 bits a channel \(.*;16B\)"):
        read_image(tmp_path / "scan.png")


def test_medical_formats_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "slice.dcm").write_bytes(b"\0" * 128 + b"DICM")
    with pytest.raises(DataError, match=r"slice.dcm: cannot be read \(DICOM is not read; save it as an 8-bit PNG"):
        read_image(tmp_path / "slice.dcm")


def save_on_its_side(picture: Image.Image, path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by whoever shows it
    picture.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)


def test_exif_orientation_is_followed(picture: Image.Image, tmp_path: Path) -> None:
    save_on_its_side(picture, tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png"), np.asarray(picture))
    assert image_size_hw(tmp_path / "a.png") == (20, 30)
    assert read_image(tmp_path / "a.png", upright=False).shape == (30, 20, 3)
    assert image_size_hw(tmp_path / "a.png", upright=False) == (30, 20)


def test_a_mask_is_held_against_the_upright_image(picture: Image.Image, tmp_path: Path) -> None:
    save_on_its_side(picture, tmp_path / "a.png")
    Image.new("L", (30, 20)).save(tmp_path / "upright.png")
    Image.new("L", (20, 30)).save(tmp_path / "lying.png")
    assert FileSample("a", "train", tmp_path / "a.png", tmp_path / "upright.png").mask().shape == (20, 30)
    with pytest.raises(DataError, match="once turned as its EXIF orientation says; turn the mask too"):
        FileSample("a", "train", tmp_path / "a.png", tmp_path / "lying.png").mask()


def test_a_mask_that_lies_as_its_image_does_is_turned_with_it(picture: Image.Image, tmp_path: Path) -> None:
    save_on_its_side(picture, tmp_path / "a.png")
    save_on_its_side(
        Image.fromarray(np.arange(600, dtype=np.uint16).astype(np.uint8).reshape(20, 30)), tmp_path / "m.png"
    )
    mask_HW = FileSample("a", "train", tmp_path / "a.png", tmp_path / "m.png").mask()
    assert mask_HW.shape == (20, 30) and mask_HW[0, :3].tolist() == [0, 1, 2]


VALUES = np.array([[0, 1], [2, 255]], np.uint8)


@pytest.mark.parametrize("mode", ["L", "P", "LA", "RGB", "RGBA", "I;16"])
def test_a_masks_numbers_come_back_from_every_mode_that_can_hold_them(tmp_path: Path, mode: str) -> None:
    gray = Image.fromarray(VALUES)
    if mode == "P":
        mask = Image.frombytes("P", (2, 2), VALUES.tobytes())
        mask.putpalette([7, 8, 9] * 256)
    elif mode == "I;16":
        mask = Image.fromarray(VALUES.astype(np.uint16))
    else:
        mask = gray.convert(mode)
    mask.save(tmp_path / "m.png")
    with Image.open(tmp_path / "m.png") as file:
        assert mask_values(file).tolist() == VALUES.tolist()


def test_a_mask_of_one_bit_has_classes_0_and_1() -> None:
    assert mask_values(Image.fromarray(np.array([[True, False]]))).tolist() == [[1, 0]]


def test_a_mask_in_colour_or_with_large_numbers_is_refused(picture: Image.Image, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is in colour; save the class numbers"):
        mask_values(picture)
    with pytest.raises(ValueError, match="holds numbers from 0 to 300"):
        mask_values(Image.fromarray(np.array([[0, 300]], np.uint16)))


@pytest.mark.parametrize(
    ("least", "expected"), [(None, 1), (1000, 1), (49, 1), (48, 2), (24, 4), (13, 4), (12, 8), (1, 8)]
)
def test_a_jpeg_comes_smaller_for_who_needs_less(tmp_path: Path, least: int | None, expected: int) -> None:
    """Both sides at least so long; turned or not."""
    picture = Image.new("RGB", (128, 96), "teal")
    picture.save(tmp_path / "a.jpg")
    exif = picture.getexif()
    exif[ORIENTATION] = 6
    picture.save(tmp_path / "turned.jpg", exif=exif)
    picture.save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.jpg", least=least).shape == (96 // expected, 128 // expected, 3)
    assert read_image(tmp_path / "turned.jpg", least=least).shape == (128 // expected, 96 // expected, 3)
    assert read_image(tmp_path / "a.png", least=least).shape == (96, 128, 3)
