"""The meaning of the numbers in a folder of masks. Numbers with two possible meanings are refused, by file name.

Two conventions are common: 0 and 255 for background and object; or 0, 1, 2, ... for classes, with 255 ignored. One file
of the other convention among many would change what 255 means in all of them, so mixtures are refused.
"""

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from seg.data.image_file import mask_values, reading
from seg.data.sample import IGNORED, DataError, several

MAX_CLASSES = 64
"""The mask value from which, without classes.txt, numbers that do not count up are taken for gray values."""
MIN_INSTANCES = 20
"""The mask value from which, without classes.txt, numbers are taken for those of objects, not of classes."""
MIN_NUMBERED_OBJECTS = 4
"""The number of objects from which masks that count up from 1 cause a warning."""
LOSSY_FORMATS = ("JPEG", "MPO")
DARK, BRIGHT = 32, 224
"""The gray levels up to and from which a pixel of a mask with soft edges is surely background or object."""
SURE_SHARE = 0.85
"""The share of such pixels from which masks are taken to have two levels and soft edges."""
NAMES_SHOWN = 3


@dataclass(frozen=True)
class ClassList:
    """The contents of classes.txt."""

    names: tuple[str, ...] = ()
    """The names of the classes, background first; empty if the masks say how many there are."""
    ignored: bool = False
    """Whether the line `255 ignored` says that 255 is not a class."""


@dataclass(frozen=True)
class MaskFile:
    """The contents of one mask file."""

    path: Path
    pixels: np.ndarray
    """The number of pixels of each value: (256,) int64."""
    one_bit: bool = False
    lossy: bool = False

    @cached_property
    def values(self) -> frozenset[int]:
        return frozenset(np.flatnonzero(self.pixels).tolist())

    @property
    def classes(self) -> frozenset[int]:
        """The values that are neither 0 nor 255."""
        return self.values - {0, IGNORED}

    @property
    def is_blurred(self) -> bool:
        """Whether a lossy file format has changed the numbers: two levels can survive it, more cannot."""
        return self.lossy and len(self.values) > 2


@dataclass(frozen=True)
class Convention:
    """The meaning of the numbers in all masks."""

    names: tuple[str, ...]
    description: str
    foreground: bool = False
    """Whether 255 is the object; there are no other classes then."""
    white: frozenset[Path] = frozenset()
    """The 1-bit files among those masks; every value except 0 is the object in them."""
    warnings: tuple[str, ...] = ()


def survey(path: Path) -> MaskFile:
    """Read one mask file. Raises DataError if it is unreadable or in colour."""
    with reading(path), Image.open(path) as file:
        one_bit, lossy = file.mode == "1", file.format in LOSSY_FORMATS
        return MaskFile(path, np.bincount(mask_values(file).ravel(), minlength=256), one_bit, lossy)


def refuse_blurred(folder: Path, masks: Sequence[MaskFile]) -> None:
    """Raise DataError if JPEG has blurred the numbers of some masks."""
    blurred = [mask for mask in masks if mask.is_blurred]
    if not blurred:
        return
    lines = [f"{mask.path}: {len(mask.values)} values up to {max(mask.values)}" for mask in blurred]
    if _two_levels(blurred):
        remedy = f"JPEG blurs edges. Set a threshold at 128: `{_recode(folder, '--threshold 128')}`."
    else:
        remedy = "JPEG changes class numbers, which cannot be repaired: export these masks again, as PNG."
    raise several(lines, f"of {len(masks)} masks are JPEG files of more than two values", remedy)


def understand(folder: Path, masks: Sequence[MaskFile], listed: ClassList) -> Convention:
    """Return what the numbers mean in all `masks` together. Raises DataError if that is not certain."""
    labelled = [mask for mask in masks if mask.values - {0}]
    if not labelled:
        raise DataError(f"{folder}: every mask is empty; a class is a number above 0, or 255 for the only one")
    object_255 = [mask for mask in labelled if not mask.classes]
    numbered = [mask for mask in labelled if mask.classes and not mask.one_bit]
    if not object_255 or listed.ignored:
        return _as_classes(folder, masks, listed)
    if not numbered:
        return _as_foreground(folder, masks, listed)
    # Most files with 255 also hold classes: 255 means ignored, and a few files hold nothing else.
    if sum(IGNORED in mask.values for mask in numbered) > len(object_255):
        return _as_classes(folder, masks, listed)
    raise _mixed(folder, labelled, object_255, numbered)


def _mixed(
    folder: Path, labelled: Sequence[MaskFile], object_255: Sequence[MaskFile], numbered: Sequence[MaskFile]
) -> DataError:
    """Return the error for masks of both conventions; it names the files of the rarer one."""
    ignored = f"If 255 means ignored, add the line `255 ignored` to {_classes_txt(folder)}."
    classes = frozenset[int]().union(*(mask.classes for mask in numbered))
    odd, usual = numbered, "only 0 and 255"
    if len(numbered) > len(object_255):
        odd, usual = object_255, _listed(classes | {0})
    others = f"{len(labelled) - len(odd)} other mask(s) hold {usual}"
    lines = [f"{mask.path}: {_contents(mask)}, while {others}" for mask in odd]
    if _soft(numbered) or all(IGNORED in mask.values for mask in numbered):
        remedy = f"If those are stray pixels or soft edges: `{_recode(folder, '--threshold 128')}`. {ignored}"
    elif len(classes) == 1:
        remedy = f"If all that is not 0 is the object: `{_recode(folder, '--threshold 1')}`. {ignored}"
    else:
        remedy = f"Save 0, 1, 2, ... in all masks, or 0 and 255 in all. {ignored}"
    return several(lines, f"of {len(labelled)} masks use other numbers than the rest", remedy)


def _contents(mask: MaskFile) -> str:
    if not mask.classes or IGNORED not in mask.values:
        return f"holds {_listed(mask.values)}"
    count = int(mask.pixels[sorted(mask.classes)].sum())
    return f"holds {_listed(mask.values)} ({count} pixel{'s' * (count > 1)} neither 0 nor 255)"


def _as_foreground(folder: Path, masks: Sequence[MaskFile], listed: ClassList) -> Convention:
    names = listed.names or ("background", "foreground")
    if len(names) > 2:
        raise DataError(
            f"{_classes_txt(folder)}: names {len(names)} classes ({', '.join(names)}), but {_where(masks)} "
            f"hold only 0 and 255. Save 0 to {len(names) - 1} in the masks, or name two classes: background and what "
            f"255 is. {_declare_ignored()}"
        )
    if not any(0 in mask.values for mask in masks):
        raise DataError(f"{folder}: every pixel is 255 in {_where(masks)}; save the background as 0")
    white = frozenset(mask.path for mask in masks if mask.classes)
    bits = f" (in {len(white)} file(s) of 1 bit: white = {names[1]})" if white else ""
    return Convention(names, f"0 = {names[0]}, 255 = {names[1]}{bits}", foreground=True, white=white)


def _as_classes(folder: Path, masks: Sequence[MaskFile], listed: ClassList) -> Convention:
    pixels = np.sum([mask.pixels for mask in masks], axis=0)
    found = frozenset(np.flatnonzero(pixels).tolist()) - {IGNORED}
    if not found - {0}:
        raise DataError(f"{folder}: every mask is empty, apart from 255, which {_classes_txt(folder)} says is ignored")
    if len(found) == 1:
        raise DataError(f"{folder}: every pixel is {min(found)} in {_where(masks)}; save the background as 0")
    if listed.names:
        _refuse_unnamed(folder, masks, listed, found, bool(pixels[IGNORED]))
    else:
        _refuse_no_classes(folder, masks, found)
    names = listed.names or ("background", *(f"class{number}" for number in range(1, max(found) + 1)))
    shown = ", ".join(f"{number} = {name}" for number, name in enumerate(names))
    if pixels[IGNORED]:
        shown += f", 255 = ignored ({pixels[IGNORED] / pixels.sum():.1%} of the pixels)"
    return Convention(names, shown, warnings=_warnings(folder, masks, listed, pixels))


def _refuse_unnamed(
    folder: Path, masks: Sequence[MaskFile], listed: ClassList, found: frozenset[int], holds_255: bool
) -> None:
    """Raise DataError if masks hold numbers that classes.txt does not name, or 255 seems to be its last class."""
    names = listed.names
    allowed = f"it may hold 0 to {len(names) - 1} ({', '.join(names)}) and {IGNORED} (ignored)"
    beyond = [(mask.path, [value for value in sorted(mask.classes) if value >= len(names)]) for mask in masks]
    if lines := [f"{path}: holds the value {values[0]}; {allowed}" for path, values in beyond if values]:
        remedy = "Correct them, or name the classes that are missing in classes.txt."
        if len(found) >= len(names) and max(found) > len(found):
            remedy = _strange_numbers(folder, masks, found)[1]
        raise several(lines, f"of {len(masks)} masks hold numbers that classes.txt does not name", remedy)
    if holds_255 and not listed.ignored and found == {0, 1} and len(names) == 3:
        holding = _where([mask for mask in masks if IGNORED in mask.values])
        raise DataError(
            f"{_classes_txt(folder)}: names 3 classes ({', '.join(names)}), but the masks hold 0, 1 and 255; 255 is in "
            f"{holding}. If it is {names[2]}: `{_recode(folder, '--values 0,1,255')}`. {_declare_ignored()}"
        )


def _refuse_no_classes(folder: Path, masks: Sequence[MaskFile], found: frozenset[int]) -> None:
    """Raise DataError if classes.txt does not name classes and the numbers do not look like classes."""
    if max(found) >= MIN_INSTANCES or len(found - {0}) <= max(found) / 2:
        what, remedy = _strange_numbers(folder, masks, found)
        holding = [mask for mask in masks if mask.classes]
        beyond = [mask for mask in holding if max(mask.classes) > len(found - {0})]
        raise DataError(f"{folder}: {what}, in {_where(beyond or holding)}. {remedy}")
    if 0 not in found:
        raise DataError(
            f"{folder}: no pixel is 0, which is the background; {_where(masks)} hold {_listed(found)}. If "
            f"{min(found)} is the background: `{_recode(folder, _by_values(found))}`; else name the classes in "
            f"{_classes_txt(folder)}, background first"
        )


def _strange_numbers(folder: Path, masks: Sequence[MaskFile], found: frozenset[int]) -> tuple[str, str]:
    """Return what numbers that are not classes may be, and what to do about them."""
    holding, classes, highest = [mask for mask in masks if mask.classes], found - {0}, max(found)
    few = f"If {_listed(found)} are the classes: `{_recode(folder, _by_values(found))}`"
    foreground = f"`{_recode(folder, '--threshold 1')}`"
    name_them = f"name them in {_classes_txt(folder)}"
    if _soft(holding):
        return "gray levels between 0 and 255, as of soft edges", (
            f"Set a threshold at 128: `{_recode(folder, '--threshold 128')}`."
        )
    if len(classes) == 1:
        return f"only the numbers {_listed(found)}", (
            f"If {highest} is the object: {foreground}; if the masks are classes, {name_them}."
        )
    if len(classes) <= highest / 2 and highest < MAX_CLASSES:
        return f"numbers with gaps, {_listed(found)}", f"{few}; else save 0, 1, 2, ..., or {name_them}."
    if highest < MAX_CLASSES or _count_up(holding):
        return f"numbers up to {highest} look like those of objects (instances), not classes", (
            f"If each object has its number: {foreground} makes them one class; if they are classes, {name_them}."
        )
    advice = few if len(found) <= MIN_INSTANCES else f"If all that is not 0 is the object: {foreground}"
    return f"numbers up to {highest} look like gray values, not classes", (
        f"{advice}; else save 0, 1, 2, ..., or {name_them}."
    )


def _warnings(folder: Path, masks: Sequence[MaskFile], listed: ClassList, pixels: np.ndarray) -> tuple[str, ...]:
    found, text = np.flatnonzero(pixels[:IGNORED]), []
    if not listed.ignored and pixels[IGNORED] > pixels[1:IGNORED].sum():
        text.append(
            f"255 is read as ignored, but covers {pixels[IGNORED] / pixels.sum():.1%} of the pixels, more than all "
            f"classes above 0; if it is a class: `{_recode(folder, _by_values([*found, IGNORED]))}`"
        )
    if listed.names:
        return tuple(text)
    if absent := sorted(set(range(int(found.max()))) - set(found.tolist())):
        text.append(f"no mask holds {_listed(frozenset(absent))}, though there are higher numbers")
    holding = [mask for mask in masks if mask.classes]
    if found.max() >= MIN_NUMBERED_OBJECTS and _count_up(holding):
        text.append(
            f"every mask counts up from 1, to different numbers; if these are objects, not classes: "
            f"`{_recode(folder, '--threshold 1')}`"
        )
    return tuple(text)


def _soft(masks: Sequence[MaskFile]) -> bool:
    """Whether the masks have two levels, but at least half also have levels between, as soft edges do."""
    between = sum(mask.pixels[DARK + 1 : BRIGHT].any() for mask in masks)
    return _two_levels(masks) and bool(between >= len(masks) / 2)


def _two_levels(masks: Sequence[MaskFile]) -> bool:
    """Whether nearly all pixels are near 0 or 255, and some of them near 255."""
    pixels = np.sum([mask.pixels for mask in masks], axis=0)
    sure = pixels[: DARK + 1].sum() + pixels[BRIGHT:].sum()
    return bool(pixels[BRIGHT:].any() and sure >= SURE_SHARE * pixels.sum())


def _count_up(masks: Sequence[MaskFile]) -> bool:
    """Whether each mask holds 1, 2, ... without a gap, up to different numbers, as numbered objects do."""
    highest = {max(mask.classes) for mask in masks}
    return len(highest) > 1 and all(len(mask.classes) == max(mask.classes) for mask in masks)


def _where(masks: Sequence[MaskFile]) -> str:
    names = ", ".join(mask.path.name for mask in masks[:NAMES_SHOWN])
    return f"{len(masks)} mask{'s' * (len(masks) > 1)} ({names}{', ...' if len(masks) > NAMES_SHOWN else ''})"


def _listed(values: frozenset[int], shown: int = 8) -> str:
    texts = [str(value) for value in sorted(values)]
    if len(texts) > shown:
        return f"{', '.join(texts[: shown - 1])}, ... {texts[-1]} ({len(texts)} values)"
    return f"{', '.join(texts[:-1])} and {texts[-1]}" if len(texts) > 1 else texts[0]


def _declare_ignored() -> str:
    return "If 255 means ignored, add the line `255 ignored` to it."


def _classes_txt(folder: Path) -> Path:
    return folder.parent / "classes.txt"


def _by_values(values: Iterable[int]) -> str:
    return f"--values {','.join(str(value) for value in sorted(values))}"


def _recode(folder: Path, how: str) -> str:
    return f"python -m seg.recode {shlex.quote(str(folder))} {how}"
