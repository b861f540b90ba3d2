"""Which images train, which validate, which test."""

import hashlib
from collections.abc import Iterable

from seg.data.sample import Sample

VALIDATION_SHARE = 0.2
"""Of the training images; a share of the hash range, so the share of the images is near it, not exact."""

SPLITS = ("train", "val", "test")


def assign(samples: Iterable[Sample]) -> dict[str, str]:
    """Sample id -> `train`, `val` or `test`.

    Validation is cut from the training images by a hash of the id alone: an image keeps its split
    whatever other files are present, in any order, on any machine. Test images stay test images.
    """
    return {sample.id: _split(sample) for sample in samples}


def _split(sample: Sample) -> str:
    if sample.split == "train" and _position(sample.id) < VALIDATION_SHARE:
        return "val"
    return sample.split


def _position(id: str) -> float:
    """Uniform in [0, 1). Python's own hash() differs from process to process."""
    return int.from_bytes(hashlib.blake2b(id.encode(), digest_size=8).digest()) / 2**64
