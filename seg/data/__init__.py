"""Datasets as lists of samples: each dataset is one file with one function, registered in DATASETS.

To add a dataset, write a file beside this one with a function `load(data_dir, download=True) -> Dataset`
and name it in DATASETS.
"""

import re
from functools import partial
from pathlib import Path
from typing import Protocol

from seg import split
from seg.data import coco, folder, isic, pets, phantom
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
    """The dataset `name` found under `data_dir`; `isic2016:150` is isic2016 with 150 of its training images.

    Where it is missing it is downloaded there, or with `download=False` MissingData is raised.
    ValueError for an unknown name, DataError for bad files, or a number of images that it has not.
    """
    known, train_images = parse(name)
    dataset = DATASETS[known](Path(data_dir), download=download)
    return dataset if train_images is None else split.fewer(dataset, train_images)


def downloadable(name: str) -> bool:
    """Whether a dataset that is missing can be downloaded. A user's own cannot."""
    return parse(name)[0] != folder.NAME


def parse(name: str) -> tuple[str, int | None]:
    """A name in DATASETS, and how many of its training images are asked for; None: all. ValueError for an
    unknown name, DataError for what is no number."""
    known, colon, count = name.partition(":")
    if known not in DATASETS:
        raise ValueError(f"dataset: {name!r} is not known; choose from {', '.join(DATASETS)}")
    if colon and not re.fullmatch("[1-9][0-9]*", count):
        raise DataError(f"{name!r} asks for {count!r} training images; give a number, as in {known}:150")
    return known, int(count) if colon else None
