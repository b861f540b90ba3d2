"""A sample is an image and its mask, read on demand; a dataset is a list of samples and what they mean."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image


class DataError(Exception):
    """The data on disk cannot be used. The message says what is wrong, where, and what to do."""


class Sample(Protocol):
    """What every dataset's samples offer. `split` is `train` or `test`: validation is cut later, by id."""

    @property
    def id(self) -> str: ...
    @property
    def split(self) -> str: ...

    def digest(self) -> str:
        """Hash of everything the pixels depend on: file contents, or the generator's version and seed."""
        ...

    def image(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB at native size. DataError where unreadable."""
        ...

    def mask(self) -> np.ndarray:
        """(H, W) uint8 class indices, 255 = ignored, of the image's native size. DataError where unreadable."""
        ...


@dataclass(frozen=True)
class Dataset:
    name: str
    samples: list[Sample]
    class_names: tuple[str, ...]
    """Index = class; class 0 is background. Two names make a binary task."""
    remark: str = ""
    """What a reader of any figure on this data must know (a subset, other masks, ...)."""
    synthetic: bool = False

    @property
    def classes(self) -> int:
        return len(self.class_names)
