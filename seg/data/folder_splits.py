"""Which of a user's own images train, validate and test: as splits.csv says, or by a hash of their names."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from seg import split
from seg.data.image_file import IMAGE_SUFFIXES, reading
from seg.data.sample import DataError, several

TEST_SHARE = 0.2


def of(path: Path, stems: Sequence[str]) -> dict[str, str]:
    """Stem -> `train`, `val` or `test`; `path` is splits.csv, which need not be there.

    DataError where it is wrong, or where a study would lack images to train, validate or test."""
    found = _read(path, stems) if path.exists() else _hashed(stems)
    _check_filled(path, found)
    return found


def _hashed(stems: Sequence[str]) -> dict[str, str]:
    tested = set(split.cut(stems, TEST_SHARE, leaving=2))
    # Hashed again, or those left to train would all lie above the share that validates.
    left = {f"train {stem}": stem for stem in stems if stem not in tested}
    validating = {left[key] for key in split.cut(list(left), split.VALIDATION_SHARE)}
    return {stem: "test" if stem in tested else "val" if stem in validating else "train" for stem in stems}


def _read(path: Path, stems: Sequence[str]) -> dict[str, str]:
    """Every image once, and no other. One DataError for all lines that are wrong."""
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
    """`photo.jpg` stands for `photo`, unless an image is called that."""
    return Path(given).stem if given not in known and Path(given).suffix.lower() in IMAGE_SUFFIXES else given


def _check_filled(path: Path, splits: Mapping[str, str]) -> None:
    """Before hours of training, not after. Without `val`, some of `train` validate."""
    counts = {name: list(splits.values()).count(name) for name in split.SPLITS}
    if counts["test"] and counts["train"] >= (1 if counts["val"] else 2):
        return
    said = ", ".join(f"{count} {name}" for name, count in counts.items())
    place = path if path.exists() else path.parent / "images"
    raise DataError(f"{place}: {said}; a study needs images to train, to validate and to test, add some")
