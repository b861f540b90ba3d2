"""Datasets as lists of samples: each dataset is one file with one function, registered in DATASETS.

To add a dataset, write a file beside this one with a function `load(data_dir, download=True) -> Dataset` and register
it in DATASETS.
"""

import re
from functools import partial
from pathlib import Path
from typing import Protocol

from seg.data import coco, folder, isic, pets, phantom, split
from seg.data.sample import DataError, Dataset, MissingData, Sample

__all__ = ["DATASETS", "DataError", "Dataset", "MissingData", "Sample", "downloadable", "load", "parse"]


class Loader(Protocol):
    def __call__(self, data_dir: Path, download: bool = True) -> Dataset: ...


DATASETS: dict[str, Loader] = {
    "isic2016": isic.load,
    "pets": pets.load,
    "pets_binary": partial(pets.load, name="pets_binary"),
    "coco": coco.load,
    "folder": folder.load,
    "phantom": phantom.load,
    "phantom5": phantom.load5,
}


def load(name: str, data_dir: Path | str, download: bool = True) -> Dataset:
    """Load the dataset `name` from `data_dir`; `isic2016:150` is isic2016 with 150 of its training images.

    A missing dataset is downloaded there. Raises MissingData if that fails or `download` is false.
    Raises ValueError for an unknown name. Raises DataError for bad files or an impossible number of images.
    """
    known, train_images = parse(name)
    dataset = DATASETS[known](Path(data_dir), download=download)
    return dataset if train_images is None else split.fewer(dataset, train_images)


def downloadable(name: str) -> bool:
    """Whether a missing dataset can be downloaded; a user's own cannot."""
    return parse(name)[0] != folder.NAME


def parse(name: str) -> tuple[str, int | None]:
    """Split `name` into a name in DATASETS and the number of training images asked for; None means all.

    Raises ValueError for an unknown name and DataError for a count that is not a positive whole number.
    """
    known, colon, count = name.partition(":")
    if known not in DATASETS:
        raise ValueError(f"dataset: {name!r} is not known; choose from {', '.join(DATASETS)}")
    if colon and not re.fullmatch("[1-9][0-9]*", count):
        raise DataError(f"{name!r} asks for {count!r} training images; give a number, as in {known}:150")
    return known, int(count) if colon else None
