"""Image and mask files as upright 8-bit arrays; a file that cannot be read without loss is refused by name."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from seg.cli import track
from seg.data.sample import UNREADABLE, DataError, Sample, several

WIDE = ("I", "F")
"""The prefixes of Pillow's modes with more than 8 bits per channel."""
MEDICAL = {".dcm": "DICOM", ".dicom": "DICOM", ".nii": "NIfTI", ".gz": "NIfTI", ".mha": "MetaImage", ".nrrd": "NRRD"}
ORIENTATION = 0x0112
ON_ITS_SIDE = (5, 6, 7, 8)
"""The EXIF orientations that exchange width and height."""
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"}

F = TypeVar("F", bound=Callable[..., np.ndarray])
NAMES: dict[Callable[..., np.ndarray], tuple[str, ...]] = {}
"""The name of each function from mask values to classes, as used in the keys of packs.

Never change a name: every pack of that kind would be built again.
"""
Item = TypeVar("Item", bound=Sample)
Result = TypeVar("Result")
REMEDY = "Repair or remove them; `python -m study.check SPEC --data DIR` lists them all."


class InColour(ValueError):
    """The error for a mask file that holds colours instead of numbers."""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn an error in reading the file into a DataError that names the file."""
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
    """Read an image as (H, W, 3) uint8 RGB.

    `upright`: rotate the image as its EXIF orientation says. `least`: a JPEG may be decoded at 1/2, 1/4 or 1/8 of its
    size, from that share of its coefficients. Both sides then still have at least `least` pixels.

    Gray, palette and CMYK images become RGB. An alpha channel is dropped; the colours stay as they are stored. Raises
    DataError for pixels of more than 8 bits, because a reader of files cannot know which part of their range matters.
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
    """Return how the pixels are stored if that takes more than 8 bits per channel, else an empty string.

    Pillow opens 16-bit colour as if it had 8 bits and drops the lower half; only the tile still shows it.
    """
    if file.mode.startswith(WIDE):
        return file.mode
    tiles = getattr(file, "tile", None)
    stored = tiles[0].args if tiles else ""
    name = str(stored[0] if isinstance(stored, tuple) and stored else stored)
    return name if ";16" in name and not name.startswith("BGR") else ""  # BGR;16 is 16 bits a pixel, not a channel


def image_size_hw(path: Path, upright: bool = True) -> tuple[int, int]:
    """Return height and width in pixels, without decoding."""
    with reading(path), Image.open(path) as file:
        width, height = file.size
        turned = upright and file.getexif().get(ORIENTATION) in ON_ITS_SIDE
    return (width, height) if turned else (height, width)


def mask_values(file: Image.Image) -> np.ndarray:
    """Return the numbers in an opened mask file as (H, W) uint8, upright as images are.

    For a palette, they are the indices, not the colours. Raises InColour for colours and ValueError for numbers that
    are not whole numbers from 0 to 255.
    """
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


def known_as(*name: str) -> Callable[[F], F]:
    """Name a function from mask values to classes for the keys of packs.

    The function can then be moved or renamed, and packs made before are still found.
    """

    def give(function: F) -> F:
        NAMES[function] = name
        return function

    return give


@known_as("seg.data.file_sample", "_as_it_is")
def _as_it_is(values_HW: np.ndarray) -> np.ndarray:
    return values_HW


def meaning(classes_of: Callable[..., np.ndarray]) -> tuple[object, ...]:
    """Return a key that is equal, in any process, for functions that do the same.

    Raises KeyError if a function has no name (`known_as`).
    """
    if isinstance(classes_of, partial):
        return *meaning(classes_of.func), classes_of.args, sorted(classes_of.keywords.items())
    return NAMES[classes_of]


@dataclass(frozen=True)
class FileSample:
    id: str
    split: str
    image_path: Path
    mask_path: Path
    classes_of: Callable[[np.ndarray], np.ndarray] = _as_it_is
    """The function from the numbers in the mask file, (H, W) uint8, to class indices.

    It raises ValueError for a number that is not a class.
    """

    def digest(self) -> str:
        """Return a hash of both files' contents and of what the numbers in the mask mean.

        Raises DataError if one of the files cannot be read.
        """
        content = hashlib.blake2b(repr(meaning(self.classes_of)).encode(), digest_size=16)
        for path in (self.image_path, self.mask_path):
            with reading(path):
                content.update(hashlib.blake2b(path.read_bytes(), digest_size=16).digest())
        return content.hexdigest()

    def image(self, least: int | None = None) -> np.ndarray:
        return read_image(self.image_path, least=least)

    def mask(self) -> np.ndarray:
        height, width = image_size_hw(self.image_path)
        with reading(self.mask_path), Image.open(self.mask_path) as file:
            mask_HW = self.classes_of(mask_values(file))
        if mask_HW.shape != (height, width):
            turned = mask_HW.shape == (width, height) and image_size_hw(self.image_path, upright=False) != (
                height,
                width,
            )
            raise DataError(
                f"{self.mask_path}: the mask is {mask_HW.shape[1]}×{mask_HW.shape[0]} pixels, "
                f"its image {self.image_path.name} is {width}×{height}"
                + (" once turned as its EXIF orientation says; turn the mask too" if turned else "")
                + ("" if turned else "; replace one of them or remove both")
            )
        return mask_HW


def read_all(
    function: Callable[[Item], Result], samples: Sequence[Item], label: str, progress: bool
) -> Iterator[Result]:
    """Yield `function` of each sample, in order; at the end, raise one DataError for all samples that failed."""
    problems = []
    for result in try_all(function, samples, label, progress):
        if isinstance(result, DataError):
            problems.append(str(result))
        else:
            yield result
    if problems:
        raise several(problems, f"of {len(samples)} images cannot be used", REMEDY)


def try_all(
    function: Callable[[Item], Result], samples: Sequence[Item], label: str, progress: bool
) -> Iterator[Result | DataError]:
    """Yield `function` of each sample, or the DataError that it raised, in order.

    It uses threads: decoding, resizing and hashing run outside Python's lock, and nothing needs copying back.
    """

    def attempt(sample: Item) -> Result | DataError:
        try:
            return function(sample)
        except DataError as error:
            return error

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        try:
            results = threads.map(attempt, samples)
            yield from track(results, label, len(samples), progress)
        finally:
            threads.shutdown(cancel_futures=True)  # Ctrl-C or a full disk must not wait for the rest
