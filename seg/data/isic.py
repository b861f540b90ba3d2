"""ISIC 2016 challenge, part 1: dermoscopic images and lesion masks (Gutman et al. 2016, arXiv:1605.01397)."""

from pathlib import Path

import numpy as np

from seg.data.download import Archive, fetch
from seg.data.image_file import FileSample, known_as
from seg.data.sample import DataError, Dataset, several

NAME = "isic2016"
ADDRESS = "https://isic-archive.s3.amazonaws.com/challenges/2016"
PARTS = {"train": "ISBI2016_ISIC_Part1_Training", "test": "ISBI2016_ISIC_Part1_Test"}
FOLDERS = [f"{part}_{kind}" for part in PARTS.values() for kind in ("Data", "GroundTruth")]
OFFICIAL_COUNTS = {"train": 900, "test": 379}
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png"}


def load(data_dir: Path, download: bool = True) -> Dataset:
    """Load the images under `<data_dir>/isic2016/`, which may be any subset of the official 900 + 379.

    If that folder is missing, the official archives are downloaded into it. Raises MissingData if that fails or
    `download` is false. Raises DataError if a folder is missing or empty, or an image has no mask.
    """
    root = data_dir / NAME
    if not root.is_dir() or not any(root.iterdir()):
        archives = [Archive(f"{ADDRESS}/{folder}.zip", folder=folder) for folder in FOLDERS]
        fetch(NAME, archives, root, download, by_hand=f"put the folders {', '.join(FOLDERS)} into {root}")
    _check_folders(root)
    samples = {split: _samples(root, split) for split in PARTS}
    _check_masks([sample for found in samples.values() for sample in found])
    return Dataset(
        name=NAME,
        samples=[*samples["train"], *samples["test"]],
        class_names=("background", "lesion"),
        remark=_remark({split: len(found) for split, found in samples.items()}),
    )


def _check_folders(root: Path) -> None:
    missing = [name for name in FOLDERS if not (root / name).is_dir()]
    if missing:
        raise DataError(f"{root}: no folder {', '.join(missing)}; both splits are needed, images and masks")
    empty = [name for name in FOLDERS if not _files(root / name)]
    if empty:
        raise DataError(f"{root / empty[0]}: holds no image file; put the files of {empty[0]}.zip there")


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith("."))


def _samples(root: Path, split: str) -> list[FileSample]:
    masks = root / f"{PARTS[split]}_GroundTruth"
    return [
        FileSample(path.stem, split, path, masks / f"{path.stem}_Segmentation.png", _lesion)
        for path in _files(root / f"{PARTS[split]}_Data")
    ]


def _check_masks(samples: list[FileSample]) -> None:
    alone = [sample for sample in samples if not sample.mask_path.is_file()]
    if alone:
        lines = [f"{sample.image_path}: no mask {sample.mask_path.name}" for sample in alone]
        remedy = f"Put the masks into {alone[0].mask_path.parent}."
        raise several(lines, "image(s) without a mask", remedy, samples=[s for s in samples if s not in alone])


@known_as("seg.data.isic", "_lesion")
def _lesion(values_HW: np.ndarray) -> np.ndarray:
    return (values_HW >= 128).astype(np.uint8)


def _remark(counts: dict[str, int]) -> str:
    if counts == OFFICIAL_COUNTS:
        return ""
    train, test = (f"{counts[split]} of {OFFICIAL_COUNTS[split]}" for split in ("train", "test"))
    return f"{train} training, {test} test images"
