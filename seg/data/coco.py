"""Five classes of COCO (Lin et al. 2014, arXiv:1405.0312), read with pycocotools: the published system R2's data."""

import contextlib
import hashlib
import io
import json
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from seg import split
from seg.data.coco_outlines import Outline, usable_outlines
from seg.data.download import Archive, fetch
from seg.data.image_file import image_size_hw, read_image, reading
from seg.data.sample import DataError, Dataset

NAME = "coco"
PUBLISHED = "val2014"
ADDRESSES = (
    f"http://images.cocodataset.org/zips/{PUBLISHED}.zip",
    "http://images.cocodataset.org/annotations/annotations_trainval2014.zip",
)
CATEGORIES = {1: "person", 2: "bicycle", 3: "car", 4: "motorcycle", 5: "airplane"}
"""COCO's category ids, which are the classes here too."""
OFFICIAL = "put the official one there"
LIMIT = 8000
"""Images that the published system took."""
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
        """Outlines are drawn on the pixels as they are stored: no turning by EXIF."""
        return read_image(self.path, upright=False, least=least)

    def mask(self) -> np.ndarray:
        """Where outlines overlap, the higher class is seen."""
        found = image_size_hw(self.path, upright=False)
        if found != self.size_hw:
            given = "×".join(map(str, self.size_hw[::-1]))
            raise DataError(f"{self.path}: is {found[1]}×{found[0]} pixels, its annotation says {given}; replace it")
        mask_HW = np.zeros(self.size_hw, np.uint8)
        for outline in sorted(self.outlines, key=lambda outline: outline.category):
            mask_HW[coco_mask.decode(outline.encoded(self.size_hw)) == 1] = outline.category
        return mask_HW


def load(data_dir: Path, download: bool = True) -> Dataset:
    """Images with at least one of the five classes, of `val2014` where it is there, else of every split that is.

    Split 8 : 1 : 1 by a hash of the image id. Crowds are dropped, and what is no outline, see Dataset.skipped.
    Where `<data_dir>/coco` is missing it is downloaded; MissingData where that fails or `download` is false.
    DataError where the annotations are not COCO's or lack a category.
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
    """Splits with annotations and images."""
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
    """DataError where it is not a COCO annotation file with the five categories."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports its progress there
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
    """The file may lie in a folder below the split's own, not elsewhere."""
    numbers = (image.get(key) for key in ("id", "height", "width"))
    if not all(isinstance(number, int) for number in numbers) or not isinstance(image.get("file_name"), str):
        return False
    path = PurePosixPath(image["file_name"])
    return not path.is_absolute() and ".." not in path.parts


def _divided(samples: list[CocoSample]) -> list[CocoSample]:
    """8 : 1 : 1 in the order given; of few images, one at least to validate and one to test."""
    part = max(round(len(samples) * SHARES["test"]), 1)
    names = ["test"] * part + ["val"] * part + ["train"] * max(len(samples) - 2 * part, 0)
    return [replace(sample, split=name) for sample, name in zip(samples, names, strict=False)]
