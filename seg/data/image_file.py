"""Image and mask files as arrays, upright and in 8 bits; what cannot be read without loss is refused by name."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from seg.data.sample import UNREADABLE, DataError

WIDE = ("I", "F")
"""Beginnings of Pillow's modes of more than 8 bits a channel."""
MEDICAL = {".dcm": "DICOM", ".dicom": "DICOM", ".nii": "NIfTI", ".gz": "NIfTI", ".mha": "MetaImage", ".nrrd": "NRRD"}
ORIENTATION = 0x0112
ON_ITS_SIDE = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height."""
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"}


class InColour(ValueError):
    """A mask file holds colours, not numbers."""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever goes wrong with the file inside becomes a DataError that names it."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file") from error
    except UNREADABLE as error:
        medical = MEDICAL.get(path.suffix.lower())
        reason = "no image in a known format" if isinstance(error, UnidentifiedImageError) else str(error)
        if medical:
            reason = f"{medical} is not read; save it as an 8-bit PNG"
        raise DataError(f"{path}: cannot be read ({reason}); replace or remove it") from error


def read_image(path: Path, upright: bool = True, least: int | None = None) -> np.ndarray:
    """(H, W, 3) uint8 RGB. `upright`: turned as its EXIF orientation says. `least`: a JPEG may come at 1/2, 1/4 or 1/8
    of its size, as long as both sides have so many pixels, from as many of its coefficients.

    Gray, palette and CMYK images become RGB; an alpha channel is left out, its colours stay as they are stored.
    DataError for pixels of more than 8 bits: which of their range matters is not for a reader of files to guess.
    """
    with reading(path), Image.open(path) as file:
        if stored := _wide(file):
            raise DataError(
                f"{path}: its pixels have more than 8 bits a channel ({stored}); convert it to an 8-bit PNG, "
                "with the range of values that matters stretched over 0 to 255"
            )
        if least:
            file.draft(None, (least, least))
        turned = ImageOps.exif_transpose(file) if upright else file
        return np.asarray(turned.convert("RGB"))


def _wide(file: Image.Image) -> str:
    """How the pixels are stored where that takes more than 8 bits a channel, else empty.

    Pillow opens 16-bit colour as if it had 8 and drops the lower half; only the tile still says so."""
    if file.mode.startswith(WIDE):
        return file.mode
    tiles = getattr(file, "tile", None)
    stored = tiles[0].args if tiles else ""
    name = str(stored[0] if isinstance(stored, tuple) and stored else stored)
    return name if ";16" in name and not name.startswith("BGR") else ""  # BGR;16 is 16 bits a pixel, not a channel


def image_size_hw(path: Path, upright: bool = True) -> tuple[int, int]:
    """Height and width in pixels, without decoding."""
    with reading(path), Image.open(path) as file:
        width, height = file.size
        turned = upright and file.getexif().get(ORIENTATION) in ON_ITS_SIDE
    return (width, height) if turned else (height, width)


def mask_values(file: Image.Image) -> np.ndarray:
    """(H, W) uint8: the numbers in an opened mask file; a palette's indices, not its colours. Upright, as images are.

    InColour for colours, ValueError for numbers above 255."""
    file = ImageOps.exif_transpose(file)
    if file.mode == "1":
        return np.asarray(file).astype(np.uint8)
    if file.mode in ("L", "P"):
        return np.asarray(file)
    if file.mode.startswith(WIDE):
        values = np.asarray(file)
        if values.min() < 0 or values.max() > 255 or (values != values.astype(np.uint8)).any():
            raise ValueError(f"holds numbers from {values.min()} to {values.max()}; classes are whole numbers to 255")
        return values.astype(np.uint8)
    colours = np.asarray(file)[..., :-1] if file.mode in ("LA", "PA", "RGBA") else np.asarray(file.convert("RGB"))
    if (colours != colours[..., :1]).any():
        raise InColour("is in colour; save the class numbers 0, 1, 2, ... as one channel of 8 bits")
    return np.ascontiguousarray(colours[..., 0])
