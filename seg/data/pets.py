"""Oxford-IIIT Pet (Parkhi et al. 2012): cats and dogs, each with a trimap of pet, background and border.

`pets` has all three as classes; in `pets_binary` the border counts as pet.
"""

from functools import partial
from pathlib import Path, PurePath

import numpy as np

from seg.data.download import Archive, fetch
from seg.data.image_file import FileSample, known_as
from seg.data.sample import DataError, Dataset, several

FOLDER = "oxford-iiit-pet"
ADDRESS = "https://thor.robots.ox.ac.uk/pets"
ARCHIVES = {
    "images.tar.gz": "5c4f3ee8e5d25df40f4fd59a7f44e54c",
    "annotations.tar.gz": "95a8c909bbe2e81eed6a22bccdf3f68f",
}
"""The archives, each with the MD5 that torchvision checks."""
LISTS = {"train": "trainval.txt", "test": "test.txt"}
OFFICIAL_COUNTS = {"train": 3680, "test": 3669}
CLASSES = {"pets": ("background", "pet", "border"), "pets_binary": ("background", "pet")}
OF_TRIMAP = {"pets": {1: 1, 2: 0, 3: 2}, "pets_binary": {1: 1, 2: 0, 3: 1}}
"""The class of each number in a trimap."""


def load(data_dir: Path, download: bool = True, name: str = "pets") -> Dataset:
    """Load the images of the official lists under `<data_dir>/oxford-iiit-pet/`; the lists may be cut to any subset.

    If that folder is missing, it is downloaded. Raises MissingData if that fails or `download` is false. Raises
    DataError if a list is missing or empty, names a missing file, or both lists name the same image.
    """
    root = data_dir / FOLDER
    if not root.is_dir() or not any(root.iterdir()):
        archives = [Archive(f"{ADDRESS}/{file}", md5=md5) for file, md5 in ARCHIVES.items()]
        fetch(name, archives, root, download, by_hand=f"unpack {' and '.join(ARCHIVES)} of {ADDRESS} into {root}")
    names = {split: _names(root / "annotations" / file) for split, file in LISTS.items()}
    _check_apart(root, names)
    samples = [_sample(root, split, image, name) for split, found in names.items() for image in found]
    _check_files(root, samples)
    return Dataset(name, list(samples), CLASSES[name], remark=_remark({s: len(found) for s, found in names.items()}))


def _names(path: Path) -> list[str]:
    """Return the first word of each line; the official lists have class, species and breed after it."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: the list cannot be read ({error}); put the official list there") from error
    names = [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]
    if not names:
        raise DataError(f"{path}: names no image; put the official list there")
    if outside := [name for name in names if PurePath(name).name != name]:
        raise DataError(f"{path}: {outside[0]!r} is no name of an image in images/; put the official list there")
    return names


def _check_apart(root: Path, names: dict[str, list[str]]) -> None:
    both = sorted(set(names["train"]) & set(names["test"]))
    if both:
        lines = [f"{image} is in {' and in '.join(LISTS.values())}" for image in both]
        raise several(lines, "image(s) both to train and to test", f"Take each out of a list in {root}/annotations.")


def _sample(root: Path, split: str, image: str, dataset: str) -> FileSample:
    trimap = root / "annotations" / "trimaps" / f"{image}.png"
    return FileSample(image, split, root / "images" / f"{image}.jpg", trimap, partial(_classes, OF_TRIMAP[dataset]))


def _check_files(root: Path, samples: list[FileSample]) -> None:
    lines = [
        f"{LISTS[sample.split]} names {sample.id}, but {path.relative_to(root)} is missing"
        for sample in samples
        for path in (sample.image_path, sample.mask_path)
        if not path.is_file()
    ]
    if lines:
        raise several(lines, "missing file(s)", f"Put them under {root}, or take their lines out of the list.")


@known_as("seg.data.pets", "_classes")
def _classes(of_trimap: dict[int, int], trimap_HW: np.ndarray) -> np.ndarray:
    strange = np.setdiff1d(trimap_HW, list(of_trimap))
    if strange.size:
        raise ValueError(f"holds the value {strange[0]}, a trimap has 1 (pet), 2 (background) and 3 (border)")
    lookup = np.zeros(256, np.uint8)
    lookup[list(of_trimap)] = list(of_trimap.values())
    return lookup[trimap_HW]


def _remark(counts: dict[str, int]) -> str:
    if counts == OFFICIAL_COUNTS:
        return ""
    train, test = (f"{counts[split]} of {OFFICIAL_COUNTS[split]}" for split in LISTS)
    return f"{train} training, {test} test images"
