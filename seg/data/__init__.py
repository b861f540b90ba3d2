"""Datasets as lists of samples: each dataset is one file with one function, registered in DATASETS.

To add a dataset, write a file beside this one with a function `load(data_dir, download=True) -> Dataset`
and name it in DATASETS.
"""

from functools import partial
from pathlib import Path
from typing import Protocol

from seg.data import coco, folder, isic, pets, phantom
from seg.data.sample import DataError, Dataset, MissingData, Sample

__all__ = ["DATASETS", "DataError", "Dataset", "MissingData", "Sample", "load"]


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
    """The dataset `name` found under `data_dir`.

    Where it is missing it is downloaded there, or with `download=False` MissingData is raised.
    ValueError for an unknown name, DataError for bad files.
    """
    if name not in DATASETS:
        raise ValueError(f"dataset: {name!r} is not known; choose from {', '.join(DATASETS)}")
    return DATASETS[name](Path(data_dir), download=download)
