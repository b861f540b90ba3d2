"""A user's own images: `images/` and `masks/` with files of the same names.

`splits.csv` (id,split) says which images train, validate and test; without it a fifth tests, by a hash of the name.
`classes.txt` names the classes, one a line, background first; without it the masks say how many there are.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from seg import split
from seg.data.file_sample import FileSample
from seg.data.image_file import IMAGE_SUFFIXES, mask_values, reading
from seg.data.parallel import read_all
from seg.data.sample import IGNORED, DataError, Dataset, MissingData, several

NAME = "folder"
TEST_SHARE = 0.2
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
    splits = _splits(root, list(pairs))
    samples = [FileSample(stem, splits[stem], *pairs[stem]) for stem in pairs]
    names, lifted = _classes(root, samples)
    if lifted:
        samples = [FileSample(s.id, s.split, s.image_path, s.mask_path, _foreground) for s in samples]
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


def _splits(root: Path, stems: Sequence[str]) -> dict[str, str]:
    path = root / "splits.csv"
    if path.exists():
        return _read_splits(path, stems)
    tested = set(split.cut(stems, TEST_SHARE, leaving=2))
    # Hashed again, or those left to train would all lie above the share that validates.
    left = {f"train {stem}": stem for stem in stems if stem not in tested}
    validating = {left[key] for key in split.cut(list(left), split.VALIDATION_SHARE)}
    return {stem: "test" if stem in tested else "val" if stem in validating else "train" for stem in stems}


def _read_splits(path: Path, stems: Sequence[str]) -> dict[str, str]:
    """Every image once, and no other."""
    with reading(path), path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        if not {"id", "split"} <= set(rows.fieldnames or ()):
            raise DataError(f"{path}: its first line must name the columns id and split")
        found: dict[str, str] = {}
        for row in rows:
            place = f"{path}: line {rows.line_num}"
            stem, name = _stem((row["id"] or "").strip(), stems), (row["split"] or "").strip()
            if stem not in stems:
                raise DataError(f"{place}: {row['id']!r} is no image in images/; put it there or remove the line")
            if name not in split.SPLITS:
                raise DataError(f"{place}: {name!r} is no split; choose from {', '.join(split.SPLITS)}")
            if found.get(stem, name) != name:
                raise DataError(f"{place}: {stem} is in {found[stem]} already; an image has one split")
            found[stem] = name
    if missing := [stem for stem in stems if stem not in found]:
        raise DataError(f"{path}: {len(missing)} image(s) have no line, {missing[0]} among them; add them")
    return found


def _stem(given: str, stems: Sequence[str]) -> str:
    """`photo.jpg` stands for `photo`, unless an image is called that."""
    return Path(given).stem if given not in stems and Path(given).suffix.lower() in IMAGE_SUFFIXES else given


def _classes(root: Path, samples: Sequence[FileSample]) -> tuple[tuple[str, ...], bool]:
    """Names of the classes, and whether 255 is the foreground."""
    names = _names(root / "classes.txt")
    values = sorted(set().union(*read_all(_values, samples, "masks", progress=True)))
    if set(values) <= {0, IGNORED} and IGNORED in values and len(names) in (0, 2):
        return names or ("background", "foreground"), True
    highest = max((value for value in values if value != IGNORED), default=0)
    if names:
        _check_within(samples, values, names)
        return names, False
    if highest == 0:
        raise DataError(f"{root / 'masks'}: every mask is empty; a class is a number above 0, or 255 for the only one")
    if highest >= MOST_CLASSES:
        raise DataError(
            f"{root / 'masks'}: numbers up to {highest} look like gray values, not classes; save 0, 1, 2, ..., "
            "or name so many classes in classes.txt"
        )
    return ("background", *(f"class{number}" for number in range(1, highest + 1))), False


def _names(path: Path) -> tuple[str, ...]:
    if not path.exists():
        return ()
    with reading(path):
        names = tuple(line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip())
    if len(names) < 2 or len(set(names)) < len(names):
        raise DataError(f"{path}: needs two names or more, all different, background first, one a line")
    return names


def _check_within(samples: Sequence[FileSample], values: Sequence[int], names: tuple[str, ...]) -> None:
    strange = [value for value in values if value >= len(names) and value != IGNORED]
    if strange:
        sample = next(sample for sample in samples if strange[0] in _values(sample))
        raise DataError(
            f"{sample.mask_path}: holds the value {strange[0]}; it may hold 0 to {len(names) - 1} "
            f"({', '.join(names)}) and {IGNORED} (not counted), as classes.txt has it"
        )


def _values(sample: FileSample) -> set[int]:
    with reading(sample.mask_path), Image.open(sample.mask_path) as file:
        return set(np.flatnonzero(np.bincount(mask_values(file).ravel(), minlength=256)).tolist())


def _foreground(values_HW: np.ndarray) -> np.ndarray:
    return (values_HW == IGNORED).astype(np.uint8)
