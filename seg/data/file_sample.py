"""A sample in two files, an image and a mask of the same size."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from seg.data.image_file import image_size_hw, mask_values, read_image, reading
from seg.data.sample import DataError


def _as_it_is(values_HW: np.ndarray) -> np.ndarray:
    return values_HW


def meaning(classes_of: Callable[[np.ndarray], np.ndarray]) -> tuple[object, ...]:
    """Alike for functions that do the same, in any process."""
    if isinstance(classes_of, partial):
        return *meaning(classes_of.func), classes_of.args, sorted(classes_of.keywords.items())
    return classes_of.__module__, classes_of.__qualname__


@dataclass(frozen=True)
class FileSample:
    id: str
    split: str
    image_path: Path
    mask_path: Path
    classes_of: Callable[[np.ndarray], np.ndarray] = _as_it_is
    """The numbers in the mask file (H, W) uint8 -> class indices. ValueError where they are none."""

    def digest(self) -> str:
        """Hash of both files' contents and of what the numbers in the mask mean. DataError where one cannot be read."""
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
