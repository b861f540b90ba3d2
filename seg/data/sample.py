"""A sample is an image and its mask, read on demand; a dataset is a list of samples and what they mean."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image

IGNORED = 255
"""Mask value of a pixel that no loss and no metric counts."""

# What Pillow raises for files that are cut off, of no known format, or damaged inside.
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)


class DataError(Exception):
    """The data on disk cannot be used. The message says what is wrong, where, and what to do, in one line.

    If the message sums several things up, `problems` holds one line for each, and `remedy` says what to do about them.
    `kinds` are the errors of each kind, if there are several; `samples` can be read on to find more that is wrong."""

    def __init__(
        self,
        message: str,
        problems: Sequence[str] = (),
        remedy: str = "",
        kinds: Sequence["DataError"] = (),
        samples: Sequence["Sample"] = (),
    ):
        super().__init__(message)
        self.problems = tuple(problems) or (message,)
        self.remedy = remedy
        self.kinds = tuple(kinds) or (self,)
        self.samples = tuple(samples)


class MissingData(DataError):
    """The dataset is not there at all."""


def several(
    problems: Sequence[str], what: str, remedy: str, shown: int = 3, samples: Sequence["Sample"] = ()
) -> DataError:
    """One error for many `problems`: their number, the first few, and what to do."""
    first = "; ".join(problems[:shown]) + ("; ..." if len(problems) > shown else "")
    return DataError(f"{len(problems)} {what}: {first}. {remedy}", problems, remedy, samples=samples)


class Sample(Protocol):
    """What every dataset's samples offer. `split` is `train`, `val` or `test`; where none is `val`, validation is cut
    from the training images, see seg.split."""

    @property
    def id(self) -> str: ...
    @property
    def split(self) -> str: ...

    def digest(self) -> str:
        """Hash of everything the pixels depend on: file contents, or the generator's version and seed."""
        ...

    def image(self, least: int | None = None) -> np.ndarray:
        """(H, W, 3) uint8 RGB at native size; or, for whoever needs both sides to be at least `least` pixels, smaller
        where that is faster. DataError where unreadable."""
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
    skipped: tuple[str, ...] = ()
    """What was left out of it, one line each: annotations that are no outline, images without their file, ..."""
    mask_values: str = ""
    """What the numbers in its mask files were taken to mean, if they could mean something else."""
    warnings: tuple[str, ...] = ()
    """What a person should look at before a study, one line each. Not part of a pack's key, as `remark` is."""

    @property
    def classes(self) -> int:
        return len(self.class_names)

    def read(self, sample: Sample, least: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Image (H, W, 3) and mask (H, W) of one of the samples, native size, checked; the image smaller where its
        sides need to be `least` pixels only.

        DataError where a file is unreadable or the mask holds a value that is no class."""
        image_HW3, mask_HW = sample.image(least), sample.mask()
        stray = np.setdiff1d(mask_HW, [*range(self.classes), IGNORED])
        if stray.size:
            raise DataError(
                f"{sample.id}: the mask holds the value {stray[0]}; it may hold 0 to {self.classes - 1} "
                f"({', '.join(self.class_names)}) and {IGNORED} (ignored)"
            )
        return image_HW3, mask_HW
