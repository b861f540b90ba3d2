"""Where one finalist is better than another: the validation images on which they differ most, both ways.

    duel/duel.json, duel/*.png     image, truth, what the one sees, what the other sees

Of the validation split, as the gallery: nobody is led to choose by what test images look like.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from seg import metrics, picture
from seg.predict import Predictor
from study import counts
from study.names import file_part
from study.records import Record
from study.store import Store

EACH = 4
"""Images that each is better on."""
HEIGHT_PX = 256


@dataclass(frozen=True)
class Apart:
    """An image, and the IoU of each on it."""

    id: str
    ious: tuple[float, float]


def choose(store: Store, one: Record, other: Record) -> list[Apart]:
    """Those that `one` is better on, the furthest apart first, then those that `other` is."""
    (ids, first), (_, second) = (
        counts.from_table(counts.from_parquet(store.read(record.path("val_counts"))).sort_values(["id", "class"]))
        for record in (one, other)
    )
    ious_N2 = np.stack([metrics.image_iou(found).numpy() for found in (first, second)], axis=1)
    lead_N = ious_N2[:, 0] - ious_N2[:, 1]
    order = np.argsort(-lead_N, kind="stable")
    won = [place for place in order[:EACH] if lead_N[place] > 0]
    lost = [place for place in order[::-1][:EACH] if lead_N[place] < 0]
    return [Apart(ids[place], (float(ious_N2[place, 0]), float(ious_N2[place, 1]))) for place in won + lost]


def write(
    store: Store,
    records: tuple[Record, Record],
    predictors: tuple[Predictor, Predictor],
    apart: Sequence[Apart],
    images: Sequence[tuple[np.ndarray, np.ndarray]],
) -> None:
    """`images`: of each one apart, colours (H, W, 3) and mask (H, W). The list is written last, and what it does not
    name is removed after that: the pictures of an earlier pair."""
    listed: list[dict[str, object]] = []
    pair = "-".join(f"{record.trial:05d}" for record in records)
    for place, (one, (image_HW3, mask_HW)) in enumerate(zip(apart, images, strict=True)):
        file = f"{pair}-{place}-{file_part(one.id)}.png"
        masks = [mask_HW, *(predictor.mask(image_HW3) for predictor in predictors)]
        panels = [image_HW3, *(picture.overlay(image_HW3, mask) for mask in masks)]
        store.write(f"duel/{file}", picture.to_png(side_by_side(panels)))
        listed.append({"file": file, "id": one.id, "ious": list(one.ious)})
    trials = [record.trial for record in records]
    store.write_json("duel/duel.json", {"trials": trials, "split": "val", "images": listed})
    for name in set(store.names("duel")) - {"duel.json", *(str(image["file"]) for image in listed)}:
        store.delete(f"duel/{name}")


def side_by_side(panels_HW3: Sequence[np.ndarray]) -> Image.Image:
    """Each at the same height."""
    height, width = panels_HW3[0].shape[:2]
    width_px = max(1, round(HEIGHT_PX * width / height))
    strip = Image.new("RGB", (len(panels_HW3) * (width_px + picture.GAP_PX) - picture.GAP_PX, HEIGHT_PX), "white")
    for place, panel in enumerate(panels_HW3):
        scaled = Image.fromarray(panel).resize((width_px, HEIGHT_PX), Image.Resampling.BILINEAR)
        strip.paste(scaled, (place * (width_px + picture.GAP_PX), 0))
    return strip
