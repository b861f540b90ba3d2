"""A sample is an image and its mask, read on demand; a dataset is a list of samples and what they mean."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image

from seg.errors import UserError

IGNORED = 255
"""The mask value of pixels that losses and metrics do not count."""

# The errors that Pillow raises for files that are truncated, damaged, or of an unknown format.
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)


class DataError(UserError):
    """The error for data on disk that cannot be used; its one-line message says what is wrong, where, and what to do.

    If the message sums up several problems, `problems` holds one line for each, and `remedy` says what to do about
    them. If there are several kinds of problem, `kinds` holds one error for each kind. `samples` can still be read to
    find more problems.
    """

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
    """The error for a dataset that is not there at all."""


def several(
    problems: Sequence[str], what: str, remedy: str, shown: int = 3, samples: Sequence["Sample"] = ()
) -> DataError:
    """Return one error for many `problems`: their number, the first few, and what to do."""
    first = "; ".join(problems[:shown]) + ("; ..." if len(problems) > shown else "")
    return DataError(f"{len(problems)} {what}: {first}. {remedy}", problems, remedy, samples=samples)


class Sample(Protocol):
    """The interface of every dataset's samples.

    `split` is `train`, `val` or `test`. If no sample is `val`, validation is cut from the training images; see
    seg.data.split.
    """

    @property
    def id(self) -> str: ...
    @property
    def split(self) -> str: ...

    def digest(self) -> str:
        """Return a hash of everything the pixels depend on: file contents, or the generator's version and seed."""
        ...

    def image(self, least: int | None = None) -> np.ndarray:
        """Return the image as (H, W, 3) uint8 RGB at native size.

        With `least`, it may be smaller if that is faster, as long as both sides have at least `least` pixels. Raises
        DataError if it is unreadable.
        """
        ...

    def mask(self) -> np.ndarray:
        """Return the mask: (H, W) uint8 class indices at the image's native size, 255 = ignored.

        Raises DataError if it is unreadable.
        """
        ...


@dataclass(frozen=True)
class Dataset:
    name: str
    samples: list[Sample]
    class_names: tuple[str, ...]
    """The names of the classes by index, background first; two names make a binary task."""
    remark: str = ""
    """What a reader of any figure on this data must know (a subset, other masks, ...)."""
    synthetic: bool = False
    skipped: tuple[str, ...] = ()
    """What was left out, one line each: annotations that are not outlines, images without their file, ..."""
    mask_values: str = ""
    """What the numbers in the mask files were taken to mean, if they could mean something else."""
    warnings: tuple[str, ...] = ()
    """What a person should look at before a study, one line each. Unlike `remark`, it is not part of a pack's key."""

    @property
    def classes(self) -> int:
        return len(self.class_names)

    def read(self, sample: Sample, least: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return the checked image (H, W, 3) and mask (H, W) of one of the samples, at native size.

        With `least`, the image may be smaller: see Sample.image. Raises DataError if a file is unreadable or the mask
        holds a value that is not a class.
        """
        image_HW3, mask_HW = sample.image(least), sample.mask()
        stray = np.setdiff1d(mask_HW, [*range(self.classes), IGNORED])
        if stray.size:
            raise DataError(
                f"{sample.id}: the mask holds the value {stray[0]}; it may hold 0 to {self.classes - 1} "
                f"({', '.join(self.class_names)}) and {IGNORED} (ignored)"
            )
        return image_HW3, mask_HW
