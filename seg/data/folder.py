"""A user's own images: `images/` and `masks/` with files of the same names.

`splits.csv` (id,split) says which images train, validate and test; without it, a fifth are test images, chosen by a
hash of the name. `classes.txt` names the classes, one per line, background first; without it, the masks say how many
there are. Its line `255 ignored` says that 255 is not a class, for masks that could be read otherwise.
"""

import csv
import difflib
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from seg.data import mask_convention, split
from seg.data.image_file import IMAGE_SUFFIXES, FileSample, InColour, known_as, reading, try_all
from seg.data.mask_convention import ClassList, Convention, MaskFile
from seg.data.sample import IGNORED, DataError, Dataset, MissingData, several

TEST_SHARE = 0.2


def of(path: Path, stems: Sequence[str]) -> dict[str, str]:
    """Return `train`, `val` or `test` by stem; `path` is splits.csv, which need not exist.

    Raises DataError if it is wrong, or if a study would lack images to train, validate or test.
    """
    found = _read(path, stems) if path.exists() else _hashed(stems)
    _check_filled(path, found)
    return found


def _hashed(stems: Sequence[str]) -> dict[str, str]:
    tested = set(split.cut(stems, TEST_SHARE, leaving=2))
    # Hash again: the first hash of every image left is above the share that validates.
    left = {f"train {stem}": stem for stem in stems if stem not in tested}
    validating = {left[key] for key in split.cut(list(left), split.VALIDATION_SHARE)}
    return {stem: "test" if stem in tested else "val" if stem in validating else "train" for stem in stems}


def _read(path: Path, stems: Sequence[str]) -> dict[str, str]:
    """Read splits.csv, which must list every image once and nothing else. Raises one DataError for all wrong lines."""
    known, found, problems = set(stems), dict[str, str](), list[str]()
    with reading(path), path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        if not {"id", "split"} <= set(rows.fieldnames or ()):
            raise DataError(f"{path}: its first line must name the columns id and split")
        for row in rows:
            place = f"{path}: line {rows.line_num}"
            stem, name = _stem((row["id"] or "").strip(), known), (row["split"] or "").strip()
            if stem not in known:
                problems.append(f"{place}: {row['id']!r} is no image in images/; put it there or remove the line")
            elif stem in found:
                problems.append(f"{place}: {stem} is in {found[stem]} already; remove one of the lines")
            elif name not in split.SPLITS:
                problems.append(f"{place}: {name!r} is no split; choose from {', '.join(split.SPLITS)}")
            found.setdefault(stem, name)
    if missing := [stem for stem in stems if stem not in found]:
        problems.append(f"{path}: {len(missing)} image(s) have no line, {missing[0]} among them; add them")
    if problems:
        raise DataError(problems[0]) if len(problems) == 1 else several(problems, "problems", f"Correct {path.name}.")
    return found


def _stem(given: str, known: set[str]) -> str:
    """Return the stem that `given` means: `photo.jpg` means `photo`, unless an image's stem is `photo.jpg`."""
    return Path(given).stem if given not in known and Path(given).suffix.lower() in IMAGE_SUFFIXES else given


def _check_filled(path: Path, splits: Mapping[str, str]) -> None:
    """Raise DataError if a study would lack images, before it trains for hours.

    Without `val`, some of the `train` images validate.
    """
    counts = {name: list(splits.values()).count(name) for name in split.SPLITS}
    if counts["test"] and counts["train"] >= (1 if counts["val"] else 2):
        return
    said = ", ".join(f"{count} {name}" for name, count in counts.items())
    place = path if path.exists() else path.parent / "images"
    raise DataError(f"{place}: {said}; a study needs images to train, to validate and to test, add some")


NAME = "folder"
KINDS = ("images", "masks")
MAX_COLOURS = 64
"""The most colours in a mask; a file with more is a photograph, or was saved as JPEG."""
COLOUR_FILES_READ = 50


def load(data_dir: Path, download: bool = True) -> Dataset:
    """Load the pairs of `<data_dir>/images` and `<data_dir>/masks`, or of the same folders in `<data_dir>/folder`.

    Masks that hold only 0 and 255 show a foreground; in all others, the numbers are classes and 255 is ignored.
    Raises MissingData if there is no such folder. Raises one DataError for everything that is wrong. These are images
    and masks that do not pair up, masks that cannot be read or have two possible meanings, and mistakes in splits.csv
    and classes.txt.
    """
    root = _root(data_dir)
    errors: list[DataError] = []
    images, masks = (_by_stem(root / kind, errors) for kind in KINDS)
    with _collected(errors):
        _check_paired(root, images, masks)
    splits, listed = dict[str, str](), None
    with _collected(errors):
        splits = of(root / "splits.csv", list(images))
    with _collected(errors):
        listed = _class_list(root / "classes.txt")
    samples = [
        FileSample(stem, splits.get(stem, "train"), path, masks[stem]) for stem, path in images.items() if stem in masks
    ]
    convention = _convention(root, samples, listed, errors)
    if errors or convention is None:
        raise _refusal(root, data_dir, errors, samples)
    return Dataset(
        NAME,
        [replace(sample, classes_of=_classes_of(convention, sample)) for sample in samples],
        convention.names,
        remark=f"own images in {root.resolve().name}",
        mask_values=convention.description,
        warnings=convention.warnings,
    )


def _root(data_dir: Path) -> Path:
    if not data_dir.is_dir():
        raise MissingData(f"no such folder: {data_dir}{_similar(data_dir)}; --data names the one that has your images")
    root = data_dir if any((data_dir / kind).is_dir() for kind in KINDS) else data_dir / NAME
    missing = [kind for kind in KINDS if not (root / kind).is_dir()]
    if len(missing) == 2:
        raise MissingData(f"{data_dir}: no folders images/ and masks/ in it; put your images and masks there")
    if missing:
        found = ", ".join(sorted(path.name for path in root.iterdir() if path.is_dir()))
        raise MissingData(f"{root}: no folder {missing[0]}/ in it, only {found}; put your {missing[0]} there")
    return root


def _similar(path: Path) -> str:
    """Return `; did you mean ...?` if a folder beside `path` has a similar name, else an empty string."""
    beside = [other.name for other in path.parent.iterdir() if other.is_dir()] if path.parent.is_dir() else []
    close = difflib.get_close_matches(path.name, beside, n=1)
    return f"; did you mean {path.parent / close[0]}?" if close else ""


@contextmanager
def _collected(errors: list[DataError]) -> Iterator[None]:
    """Append a DataError raised inside to `errors` and go on, to find the other errors."""
    try:
        yield
    except DataError as error:
        errors.append(error)


def _refusal(root: Path, data_dir: Path, errors: Sequence[DataError], samples: Sequence[FileSample]) -> DataError:
    problems = [problem for error in errors for problem in error.problems]
    message = str(errors[0])
    if len(errors) > 1:
        first = "; ".join(problem.rstrip(".") for problem in [error.problems[0] for error in errors][:3])
        message = f"{root}: {len(problems)} problems of {len(errors)} kinds: {first}"
    if len(problems) > 1:
        message = (
            f"{message.rstrip('.')}. `python -m study.check folder --data {shlex.quote(str(data_dir))}` lists all."
        )
    return DataError(message, problems, kinds=errors, samples=samples)


def _check_paired(root: Path, images: dict[str, Path], masks: dict[str, Path]) -> None:
    lines = [f"{path}: no mask of this name" for stem, path in images.items() if stem not in masks]
    lines += [f"{path}: no image of this name" for stem, path in masks.items() if stem not in images]
    if lines:
        raise several(lines, "file(s) without a partner", f"Each image in {root} needs a mask of the same name.")


def _by_stem(folder: Path, errors: list[DataError]) -> dict[str, Path]:
    """Return the folder's files by stem, including those of unknown kinds, so that they are not skipped silently."""
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith((".", "Thumbs.db")))
    if not files:
        raise DataError(f"{folder}: holds no file; put your {folder.name} there")
    found: dict[str, Path] = {}
    lines: list[str] = []
    for path in files:
        if (other := found.setdefault(path.stem, path)) != path:
            lines.append(f"{path}: has the same name as {other.name}")
    if lines:
        errors.append(several(lines, "file(s) of a name that another has", "Rename or remove one of them."))
    return found


def _class_list(path: Path) -> ClassList:
    if not path.exists():
        return ClassList()
    with reading(path):
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    names = tuple(line for line in lines if line.split()[0].rstrip(":=") != str(IGNORED))
    ignored = len(names) < len(lines)
    if (names or not ignored) and (len(names) < 2 or len(set(names)) < len(names)):
        raise DataError(f"{path}: needs two names or more, all different, background first, one a line")
    return ClassList(names, ignored)


def _convention(
    root: Path, samples: Sequence[FileSample], listed: ClassList | None, errors: list[DataError]
) -> Convention | None:
    """Return what the masks' numbers mean, or None if that is not certain; `errors` then says why.

    Each mask is read once.
    """
    folder = root / "masks"
    surveyed = list(try_all(lambda sample: mask_convention.survey(sample.mask_path), samples, "masks", progress=True))
    failed = {s.mask_path: error for s, error in zip(samples, surveyed, strict=True) if isinstance(error, DataError)}
    with _collected(errors):
        _refuse_unread({p: e for p, e in failed.items() if not isinstance(e.__cause__, InColour)}, len(samples))
    with _collected(errors):
        _refuse_coloured(folder, {p: e for p, e in failed.items() if isinstance(e.__cause__, InColour)}, len(samples))
    masks = [mask for mask in surveyed if isinstance(mask, MaskFile)]
    with _collected(errors):
        mask_convention.refuse_blurred(folder, masks)
    sharp = [mask for mask in masks if not mask.is_blurred]
    with _collected(errors):
        return mask_convention.understand(folder, sharp, listed) if listed and sharp else None
    return None


def _refuse_unread(failed: Mapping[Path, DataError], count: int) -> None:
    if failed:
        raise several(
            [str(error) for error in failed.values()], f"of {count} masks cannot be used", "Repair or remove them."
        )


def _refuse_coloured(folder: Path, failed: Mapping[Path, DataError], count: int) -> None:
    if failed:
        lines = [str(error) for error in failed.values()]
        raise several(lines, f"of {count} masks are in colour", _colour_remedy(folder, list(failed)))


def _colour_remedy(folder: Path, paths: Sequence[Path]) -> str:
    """Return the advice for masks in colour: the command that turns the colours in these files into numbers."""
    found: set[str] = set()
    for path in paths[:COLOUR_FILES_READ]:
        with reading(path), Image.open(path) as file:
            colours = file.convert("RGB").getcolors(MAX_COLOURS)
        if colours is None:
            return f"They hold more than {MAX_COLOURS} colours: pictures, or colours of classes that JPEG has blurred."
        found |= {bytes(colour).hex() for _, colour in colours if isinstance(colour, tuple)}
    command = f"python -m seg.recode {shlex.quote(str(folder))} --colours {','.join(sorted(found))}"
    return f"To make numbers of their colours: `{command}`, in the order of your classes."


def _classes_of(convention: Convention, sample: FileSample) -> Callable[[np.ndarray], np.ndarray]:
    if not convention.foreground:
        return partial(_within, convention.names)
    return _white if sample.mask_path in convention.white else _foreground


@known_as("seg.data.folder", "_white")
def _white(values_HW: np.ndarray) -> np.ndarray:
    return (values_HW != 0).astype(np.uint8)


@known_as("seg.data.folder", "_foreground")
def _foreground(values_HW: np.ndarray) -> np.ndarray:
    return (values_HW == IGNORED).astype(np.uint8)


@known_as("seg.data.folder", "_within")
def _within(names: tuple[str, ...], values_HW: np.ndarray) -> np.ndarray:
    """Return the values unchanged. Raises ValueError for the first value that is not a class."""
    strange = values_HW[(values_HW >= len(names)) & (values_HW != IGNORED)]
    if strange.size:
        raise ValueError(
            f"holds the value {strange[0]}; it may hold 0 to {len(names) - 1} ({', '.join(names)}) "
            f"and {IGNORED} (not counted)"
        )
    return values_HW
