"""Datasets as lists of samples: each dataset is one file with one function, registered in DATASETS.

To add a dataset, write a file beside this one with a function `load(data_dir) -> Dataset`
and name it in DATASETS.
"""

from collections.abc import Callable
from pathlib import Path

from seg.data import isic, phantom
from seg.data.sample import Dataset

DATASETS: dict[str, Callable[[Path], Dataset]] = {
    "isic2016": isic.load,
    "phantom": phantom.load,
}


def load(name: str, data_dir: Path) -> Dataset:
    """The dataset `name` found under `data_dir`. ValueError for an unknown name, DataError for bad files."""
    if name not in DATASETS:
        raise ValueError(f"dataset: {name!r} is not known; choose from {', '.join(DATASETS)}")
    return DATASETS[name](Path(data_dir))
