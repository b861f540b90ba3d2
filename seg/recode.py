"""Change the numbers in mask files: `python -m seg.recode masks --threshold 128`.

The new masks are PNG files that replace the old ones. The old masks are kept in `masks_original`, next to the folder.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from seg.cli import ArgumentParser, plural, status_of
from seg.data.image_file import mask_values, reading
from seg.data.sample import DataError

Change = Callable[[Image.Image], np.ndarray]
"""A function from an opened mask file to the numbers to save, (H, W) uint8."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command. Return 0 if all masks are saved, or 2 if nothing is changed; stderr then says why."""
    options = parser().parse_args(arguments)
    return status_of(lambda: _recode(options))


def _recode(options: argparse.Namespace) -> None:
    count, kept = recode(options.masks, _change(options))
    print(f"{plural(count, 'mask')} saved in {options.masks}; the old ones are in {kept}")


def recode(folder: Path, change: Change) -> tuple[int, Path]:
    """Replace every mask in `folder`. Return the number of masks, and the folder with the old masks.

    Raises DataError if a mask cannot be changed, or if there already are old masks; then all masks stay as they were.
    """
    kept = folder.with_name(f"{folder.name}_original")
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; give that of the masks")
    if kept.exists():
        raise DataError(f"{kept}: has masks from before; move it away first")
    paths = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    if len({path.stem for path in paths}) < len(paths):
        raise DataError(f"{folder}: two files have the same name but for its ending; remove one of them")
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}_", dir=folder.parent))
    try:
        for path in paths:
            with reading(path), Image.open(path) as file:
                Image.fromarray(change(file)).save(made / f"{path.stem}.png")
    except BaseException:
        shutil.rmtree(made)
        raise
    made.chmod(folder.stat().st_mode & 0o777)
    folder.rename(kept)
    made.rename(folder)
    return len(paths), kept


def threshold(level: int) -> Change:
    """Return a change to 255 from gray level `level` on, and to 0 below it.

    White in a 1-bit file becomes 255 at any level.
    """

    def change(file: Image.Image) -> np.ndarray:
        values_HW = mask_values(file)
        white = file.mode == "1"
        return np.where(values_HW >= (1 if white else level), 255, 0).astype(np.uint8)

    return change


def by_values(values: Sequence[int]) -> Change:
    """Return a change of the first of `values` to 0, the second to 1, ...; 255 stays 255 if it is not among them."""
    table = {value: number for number, value in enumerate(values)}
    table.setdefault(255, 255)

    def change(file: Image.Image) -> np.ndarray:
        values_HW = mask_values(file)
        return _looked_up(values_HW.astype(np.int64), table, str)

    return change


def by_colours(colours: Sequence[int]) -> Change:
    """Return a change of the first of `colours` (24-bit numbers such as 0xff0000) to 0, the second to 1, ..."""
    table = {colour: number for number, colour in enumerate(colours)}

    def change(file: Image.Image) -> np.ndarray:
        rgb_HW3 = np.asarray(file.convert("RGB")).astype(np.int64)
        return _looked_up(rgb_HW3 @ np.array([1 << 16, 1 << 8, 1]), table, lambda colour: f"{colour:06x}")

    return change


def _looked_up(keys_HW: np.ndarray, table: dict[int, int], shown: Callable[[int], str]) -> np.ndarray:
    found, places = np.unique(keys_HW, return_inverse=True)
    if strange := [shown(key) for key in found.tolist() if key not in table]:
        raise ValueError(f"holds {', '.join(strange[:5])}, which you have not listed")
    return np.array([table[key] for key in found.tolist()], np.uint8)[places.reshape(keys_HW.shape)]


def _change(options: argparse.Namespace) -> Change:
    if options.values is not None:
        return by_values(options.values)
    return by_colours(options.colours) if options.colours is not None else threshold(options.threshold)


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _colours(text: str) -> list[int]:
    return [int(part.strip().removeprefix("#"), 16) for part in text.split(",")]


def parser() -> ArgumentParser:
    description = "Change the numbers in mask files. The old masks are kept in MASKS_original."
    p = ArgumentParser("seg.recode", description, "photos/masks --threshold 128", "photos/masks --values 1,2")
    p.add_argument("masks", type=Path, metavar="MASKS", help="the folder of the masks")
    how = p.add_mutually_exclusive_group(required=True)
    how.add_argument("--threshold", type=int, metavar="L", help="gray levels from this one on become 255, others 0")
    how.add_argument("--values", type=_numbers, metavar="A,B,C", help="A becomes 0, B becomes 1, C becomes 2")
    how.add_argument(
        "--colours", type=_colours, metavar="RGB,RGB", help="hex colours such as ff0000: the first becomes 0, ..."
    )
    return p


if __name__ == "__main__":
    sys.exit(main())
