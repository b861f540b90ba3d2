"""The assignment of images to training, validation and test."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from seg.data.sample import DataError, Dataset, Sample

VALIDATION_SHARE = 0.2
"""The share of the training images that validate.

It is a share of the hash range, so the share of the images is near it, not exact.
"""

SPLITS = ("train", "val", "test")


def assign(samples: Sequence[Sample]) -> dict[str, str]:
    """Return `train`, `val` or `test` by sample id.

    If no sample is `val` yet, validation is cut from the training images by a hash of the id alone. An image keeps its
    split whatever other files are present, in any order, on any machine. Test images stay test images.
    """
    given = {sample.id: sample.split for sample in samples}
    if "val" in given.values():
        return given
    training = [id for id, split in given.items() if split == "train"]
    return given | dict.fromkeys(cut(training, VALIDATION_SHARE), "val")


def fewer(dataset: Dataset, train_images: int) -> Dataset:
    """Return the dataset with only `train_images` of its training images, for a learning curve.

    A smaller selection is part of every larger one. Validation and test images stay. Raises DataError if the dataset
    has fewer training images.
    """
    train = [id for id, name in assign(dataset.samples).items() if name == "train"]
    if train_images > len(train):
        raise DataError(f"{dataset.name}: {train_images} training images asked for; it has {len(train)}")
    left_out = set(sorted(train, key=position)[train_images:])
    taken = f"{train_images} of its {len(train)} training images taken"
    return replace(
        dataset,
        samples=[sample for sample in dataset.samples if sample.id not in left_out],
        remark=f"{dataset.remark}; {taken}" if dataset.remark else taken,
    )


def cut(ids: Sequence[str], share: float, leaving: int = 1) -> list[str]:
    """Return the ids whose position is below `share`: at least one, but always leaving `leaving` ids."""
    order = sorted(ids, key=position)
    below = sum(position(id) < share for id in ids)
    return order[: max(min(max(below, 1), len(ids) - leaving), 0)]


def position(id: str) -> float:
    """Hash an id to [0, 1), uniformly. Python's own hash() differs from process to process."""
    return int.from_bytes(hashlib.blake2b(id.encode(), digest_size=8).digest()) / 2**64
