"""Which of COCO's annotations outline something, and which do not."""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask


@dataclass(frozen=True)
class Outline:
    """One object: polygons of [x0, y0, x1, y1, ...] in pixels, or a run-length code."""

    category: int
    segmentation: Any

    def encoded(self, size_hw: tuple[int, int]) -> Any:
        """As pycocotools decodes it."""
        if isinstance(self.segmentation, dict) and not isinstance(self.segmentation["counts"], list):
            return self.segmentation  # compressed already
        coded = coco_mask.frPyObjects(self.segmentation, *size_hw)
        return coco_mask.merge(coded) if isinstance(self.segmentation, list) else coded


def usable_outlines(
    content: Mapping[str, Any], categories: set[int], source: str, skipped: list[str]
) -> dict[int, list[Outline]]:
    """Outlines of the wanted categories by image id, crowds left out. Each thing that is no outline adds a line to
    `skipped`, which names `source`."""
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
    """What of an annotation's segmentation can be drawn; None where nothing."""
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
    """Whether a run-length code says of every pixel of the image whether it is inside."""
    counts = segmentation.get("counts")
    if list(segmentation.get("size", [])) != list(size_hw) or not isinstance(counts, str | list):
        return False
    try:
        if isinstance(counts, list) and sum(counts) != math.prod(size_hw):  # pycocotools lets too few pass
            return False
        return bool(coco_mask.decode(Outline(0, segmentation).encoded(size_hw)).any())
    except (ValueError, TypeError, OverflowError):
        return False


def _problem(polygon: Any, size_hw: tuple[int, int]) -> str:
    """Why a polygon outlines nothing; empty where it does."""
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
