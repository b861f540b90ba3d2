"""The five COCO classes of the published system R2, read with pycocotools (Lin et al. 2014, arXiv:1405.0312)."""

import contextlib
import hashlib
import io
import json
import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from seg.data import split
from seg.data.download import Archive, fetch
from seg.data.image_file import image_size_hw, read_image, reading
from seg.data.sample import DataError, Dataset


@dataclass(frozen=True)
class Outline:
    """One object's outline: polygons of [x0, y0, x1, y1, ...] in pixels, or a run-length code."""

    category: int
    segmentation: Any

    def encoded(self, size_hw: tuple[int, int]) -> Any:
        """Return the outline as the compressed run-length code that pycocotools decodes."""
        if isinstance(self.segmentation, dict) and not isinstance(self.segmentation["counts"], list):
            return self.segmentation  # already compressed
        coded = coco_mask.frPyObjects(self.segmentation, *size_hw)
        return coco_mask.merge(coded) if isinstance(self.segmentation, list) else coded


def usable_outlines(
    content: Mapping[str, Any], categories: set[int], source: str, skipped: list[str]
) -> dict[int, list[Outline]]:
    """Return the outlines of the wanted categories by image id, without crowds.

    Each annotation or polygon that cannot be used adds a line to `skipped`; the line names `source`.
    """
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    found: dict[int, list[Outline]] = defaultdict(list)
    for annotation in content["annotations"]:
        if annotation.get("category_id") not in categories or annotation.get("iscrowd", 0):
            continue
        place = f"{source}: annotation {annotation.get('id')} of image {annotation.get('image_id')}"
        if annotation.get("image_id") not in sizes:
            skipped.append(f"{place}: no such image")
            continue
        kept = _kept(annotation.get("segmentation"), sizes[annotation["image_id"]], place, skipped)
        if kept:
            found[annotation["image_id"]].append(Outline(annotation["category_id"], kept))
    return dict(found)


def _kept(segmentation: Any, size_hw: tuple[int, int], place: str, skipped: list[str]) -> Any:
    """Return the part of an annotation's segmentation that can be drawn; None or [] if nothing can be."""
    if isinstance(segmentation, dict):
        if _is_code(segmentation, size_hw):
            return segmentation
        skipped.append(f"{place}: its run-length code is damaged or not of the image's size")
        return None
    if not isinstance(segmentation, list) or not segmentation:
        skipped.append(f"{place}: no polygon")
        return None
    kept = []
    for polygon in segmentation:
        if reason := _problem(polygon, size_hw):
            skipped.append(f"{place}: {reason}")
        else:
            kept.append(polygon)
    return kept


def _is_code(segmentation: dict[str, Any], size_hw: tuple[int, int]) -> bool:
    """Whether a run-length code covers every pixel of the image and marks at least one as inside."""
    counts = segmentation.get("counts")
    if list(segmentation.get("size", [])) != list(size_hw) or not isinstance(counts, str | list):
        return False
    try:
        if isinstance(counts, list) and sum(counts) != math.prod(size_hw):  # pycocotools accepts too few
            return False
        return bool(coco_mask.decode(Outline(0, segmentation).encoded(size_hw)).any())
    except (ValueError, TypeError, OverflowError):
        return False


def _problem(polygon: Any, size_hw: tuple[int, int]) -> str:
    """Return why a polygon outlines nothing; an empty string if it outlines something."""
    if not isinstance(polygon, list) or not all(isinstance(v, int | float) and math.isfinite(v) for v in polygon):
        return "a polygon that is not a list of numbers"
    if len(polygon) < 6 or len(polygon) % 2:
        return f"a polygon of {len(polygon)} numbers; three points have 6"
    x, y = np.array(polygon[::2], float), np.array(polygon[1::2], float)
    height, width = size_hw
    if x.max() <= 0 or y.max() <= 0 or x.min() >= width or y.min() >= height:
        return "a polygon outside the image"
    if abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2 == 0:
        return "a polygon without area"
    return ""


NAME = "coco"
PUBLISHED = "val2014"
ADDRESSES = (
    f"http://images.cocodataset.org/zips/{PUBLISHED}.zip",
    "http://images.cocodataset.org/annotations/annotations_trainval2014.zip",
)
CATEGORIES = {1: "person", 2: "bicycle", 3: "car", 4: "motorcycle", 5: "airplane"}
"""The names of COCO's category ids; the ids are also the class indices here."""
OFFICIAL = "put the official one there"
LIMIT = 8000
"""The number of images that the published system used; no more are loaded."""
SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}


@dataclass(frozen=True)
class CocoSample:
    id: str
    split: str
    path: Path
    size_hw: tuple[int, int]
    outlines: tuple[Outline, ...]

    def digest(self) -> str:
        with reading(self.path):
            content = hashlib.blake2b(self.path.read_bytes(), digest_size=16)
        content.update(json.dumps([[o.category, o.segmentation] for o in self.outlines], sort_keys=True).encode())
        return content.hexdigest()

    def image(self, least: int | None = None) -> np.ndarray:
        """Return the pixels as stored, without EXIF rotation, because the outlines refer to those pixels."""
        return read_image(self.path, upright=False, least=least)

    def mask(self) -> np.ndarray:
        """Draw the outlines as a mask; if outlines overlap, the higher class is on top."""
        found = image_size_hw(self.path, upright=False)
        if found != self.size_hw:
            given = "×".join(map(str, self.size_hw[::-1]))
            raise DataError(f"{self.path}: is {found[1]}×{found[0]} pixels, its annotation says {given}; replace it")
        mask_HW = np.zeros(self.size_hw, np.uint8)
        for outline in sorted(self.outlines, key=lambda outline: outline.category):
            mask_HW[coco_mask.decode(outline.encoded(self.size_hw)) == 1] = outline.category
        return mask_HW


def load(data_dir: Path, download: bool = True) -> Dataset:
    """Load the images with at least one of the five classes, from `val2014` if it is there, else from every split.

    The images are split 8 : 1 : 1 by a hash of the image id. Crowds are dropped; Dataset.skipped lists annotations that
    are not outlines and images without a file.
    If `<data_dir>/coco` is missing, it is downloaded. Raises MissingData if that fails or `download` is false.
    Raises DataError if the annotations are not COCO's or lack a category.
    """
    root = data_dir / NAME
    if not root.is_dir() or not any(root.iterdir()):
        by_hand = f"put annotations/instances_{PUBLISHED}.json and {PUBLISHED}/ into {root}"
        fetch(NAME, [Archive(address) for address in ADDRESSES], root, download, by_hand)
    found: dict[str, CocoSample] = {}
    skipped: list[str] = []
    folders = _folders(root)
    for folder in folders:
        for sample in _samples(root, folder, skipped):
            found.setdefault(sample.id, sample)
    if not found:
        raise DataError(f"{root}: no image with {', '.join(CATEGORIES.values())} in {', '.join(folders)}; add images")
    order = sorted(found.values(), key=lambda sample: (split.position(sample.id), sample.id))
    samples = _divided(order[:LIMIT])
    remark = f"{len(samples)} images of COCO {' and '.join(folders)}"
    remark += f", {LIMIT} of {len(order)} with the five classes" if len(order) > LIMIT else ""
    return Dataset(NAME, list(samples), ("background", *CATEGORIES.values()), remark, skipped=tuple(skipped))


def _folders(root: Path) -> list[str]:
    """Return the splits that have both annotations and images; only `val2014` if it is one of them."""
    annotated = sorted(p.stem.removeprefix("instances_") for p in (root / "annotations").glob("instances_*.json"))
    present = [name for name in annotated if (root / name).is_dir()]
    if not present:
        raise DataError(
            f"{root}: no split with both annotations/instances_<split>.json and a folder <split>/ of images; "
            f"put {PUBLISHED} there, or any other split"
        )
    return [PUBLISHED] if PUBLISHED in present else present


def _samples(root: Path, folder: str, skipped: list[str]) -> list[CocoSample]:
    source = root / "annotations" / f"instances_{folder}.json"
    content = _read(source)
    outlines = usable_outlines(content, set(CATEGORIES), f"instances_{folder}.json", skipped)
    samples, missing = [], []
    for image in content["images"]:
        path = root / folder / image["file_name"]
        if image["id"] in outlines and path.is_file():
            size_hw = (image["height"], image["width"])
            samples.append(CocoSample(f"{image['id']:012d}", "", path, size_hw, tuple(outlines[image["id"]])))
        elif image["id"] in outlines:
            missing.append(f"{path}: named by the annotations, but not there")
    skipped += missing
    return samples


def _read(path: Path) -> dict[str, Any]:
    """Read a COCO annotation file. Raises DataError if it is not one or lacks one of the five categories."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
            content = COCO(str(path)).dataset
        images, categories = content["images"], {c["id"]: c["name"] for c in content["categories"]}
        bad = next((image for image in images if not _describes(image)), None)
        _ = content["annotations"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise DataError(f"{path}: not a COCO annotation file ({reason}); {OFFICIAL}") from error
    if bad is not None:
        wanted = f"id, height and width, and a file_name below {path.stem.removeprefix('instances_')}/"
        raise DataError(f"{path}: not a COCO annotation file (image {bad.get('id')} needs {wanted}); {OFFICIAL}")
    absent = [f"{name} ({number})" for number, name in CATEGORIES.items() if categories.get(number) != name]
    if absent:
        raise DataError(f"{path}: has no category {', '.join(absent)}; put COCO's own annotations there")
    return content


def _describes(image: dict[str, Any]) -> bool:
    """Whether an image entry has an id, a size, and a file path inside the split's own folder."""
    numbers = (image.get(key) for key in ("id", "height", "width"))
    if not all(isinstance(number, int) for number in numbers) or not isinstance(image.get("file_name"), str):
        return False
    path = PurePosixPath(image["file_name"])
    return not path.is_absolute() and ".." not in path.parts


def _divided(samples: list[CocoSample]) -> list[CocoSample]:
    """Split 8 : 1 : 1 in the given order; of two images or more, at least one tests and one validates."""
    part = max(round(len(samples) * SHARES["test"]), 1)
    names = ["test"] * part + ["val"] * part + ["train"] * max(len(samples) - 2 * part, 0)
    return [replace(sample, split=name) for sample, name in zip(samples, names, strict=False)]
