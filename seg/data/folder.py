"""A user's own images: `images/` and `masks/` with files of the same names.

`splits.csv` (id,split) says which images train, validate and test; without it a fifth tests, by a hash of the name.
`classes.txt` names the classes, one a line, background first; without it the masks say how many there are.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from seg.data import folder_splits
from seg.data.file_sample import FileSample
from seg.data.image_file import mask_values, reading
from seg.data.parallel import read_all
from seg.data.sample import IGNORED, DataError, Dataset, MissingData, several

NAME = "folder"
MOST_CLASSES = 64
"""Without classes.txt: masks with more are pictures, not masks."""


def load(data_dir: Path, download: bool = True) -> Dataset:
    """The pairs of `<data_dir>/images` and `<data_dir>/masks`, or of those in `<data_dir>/folder`.

    Masks that hold nothing but 0 and 255 show a foreground; in all others the numbers are classes and 255 is not
    counted. MissingData where there is no such folder; DataError where images and masks do not pair up, a mask holds
    what is no class, or splits.csv names something else.
    """
    root = data_dir if (data_dir / "images").is_dir() else data_dir / NAME
    if not (root / "images").is_dir() or not (root / "masks").is_dir():
        raise MissingData(f"{data_dir}: no folders images/ and masks/ in it; put your images and masks there")
    pairs = _pairs(root)
    splits = folder_splits.of(root / "splits.csv", list(pairs))
    samples = [FileSample(stem, splits[stem], *pairs[stem]) for stem in pairs]
    names, classes_of = _classes(root, samples)
    samples = [replace(sample, classes_of=classes_of) for sample in samples]
    return Dataset(NAME, list(samples), names, remark=f"own images in {root.resolve().name}")


def _pairs(root: Path) -> dict[str, tuple[Path, Path]]:
    images, masks = (_by_stem(root / kind) for kind in ("images", "masks"))
    lines = [f"{path}: no mask of this name" for stem, path in images.items() if stem not in masks]
    lines += [f"{path}: no image of this name" for stem, path in masks.items() if stem not in images]
    if lines:
        raise several(lines, "file(s) without a partner", f"Each image in {root} needs a mask of the same name.")
    return {stem: (images[stem], masks[stem]) for stem in images}


def _by_stem(folder: Path) -> dict[str, Path]:
    """Every file counts, lest one of an unknown kind be passed over in silence."""
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith((".", "Thumbs.db")))
    if not files:
        raise DataError(f"{folder}: holds no file; put your {folder.name} there")
    found: dict[str, Path] = {}
    for path in files:
        if path.stem in found:
            raise DataError(f"{path}: has the same name as {found[path.stem].name}; rename or remove one of them")
        found[path.stem] = path
    return found


def _classes(root: Path, samples: Sequence[FileSample]) -> tuple[tuple[str, ...], Callable[[np.ndarray], np.ndarray]]:
    """Names of the classes, and what turns the numbers in a mask file into them.

    All masks are looked through, unless classes.txt names more than two: then each is checked when it is read."""
    names = _names(root / "classes.txt")
    if len(names) > 2:
        return names, partial(_within, names)
    values = set().union(*read_all(_values, samples, "masks", progress=True))
    if values <= {0, IGNORED} and IGNORED in values:
        return names or ("background", "foreground"), _foreground
    names = names or _numbered(root / "masks", max(values - {IGNORED}, default=0))
    return names, partial(_within, names)


def _numbered(folder: Path, highest: int) -> tuple[str, ...]:
    """A name for each number up to the highest that any mask holds; one that none holds is a class without pixels."""
    if highest == 0:
        raise DataError(f"{folder}: every mask is empty; a class is a number above 0, or 255 for the only one")
    if highest >= MOST_CLASSES:
        raise DataError(
            f"{folder}: numbers up to {highest} look like gray values, not classes; save 0, 1, 2, ..., "
            "or name so many classes in classes.txt"
        )
    return ("background", *(f"class{number}" for number in range(1, highest + 1)))


def _names(path: Path) -> tuple[str, ...]:
    if not path.exists():
        return ()
    with reading(path):
        names = tuple(line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip())
    if len(names) < 2 or len(set(names)) < len(names):
        raise DataError(f"{path}: needs two names or more, all different, background first, one a line")
    return names


def _values(sample: FileSample) -> set[int]:
    with reading(sample.mask_path), Image.open(sample.mask_path) as file:
        return set(np.flatnonzero(np.bincount(mask_values(file).ravel(), minlength=256)).tolist())


def _foreground(values_HW: np.ndarray) -> np.ndarray:
    return (values_HW == IGNORED).astype(np.uint8)


def _within(names: tuple[str, ...], values_HW: np.ndarray) -> np.ndarray:
    """As they are. ValueError for the first that is no class."""
    strange = values_HW[(values_HW >= len(names)) & (values_HW != IGNORED)]
    if strange.size:
        raise ValueError(
            f"holds the value {strange[0]}; it may hold 0 to {len(names) - 1} ({', '.join(names)}) "
            f"and {IGNORED} (not counted)"
        )
    return values_HW
