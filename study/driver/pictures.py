"""Pictures of validation images: a gallery of the best trial, and a duel between two finalists.

    gallery/gallery.json, gallery/*.png    the worst and the median images, by the IoU of the trial's recorded counts
    duel/duel.json, duel/*.png             images on which the two differ most, both ways: image, truth, both masks

They show the validation split, so that no trial is chosen by how test images look.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from PIL import Image

from seg import metrics, picture
from seg.predict import Predictor
from study.store import Store, counts
from study.store.names import file_part
from study.store.records import Record

GALLERY_IMAGES = 4
"""The number of images of each rank."""


@dataclass(frozen=True)
class Shown:
    id: str
    rank: str
    """`worst` or `median`."""
    iou: float


def choose_gallery(store: Store, record: Record) -> list[Shown]:
    ids, found = counts.from_table(counts.from_parquet(store.read(record.path("val_counts"))))
    per_image = metrics.image_iou(found)
    order = per_image.argsort().tolist()
    middle = len(order) // 2
    chosen = {
        "worst": order[:GALLERY_IMAGES],
        "median": order[middle - GALLERY_IMAGES // 2 : middle + GALLERY_IMAGES // 2],
    }
    return [Shown(ids[place], rank, float(per_image[place])) for rank, places in chosen.items() for place in places]


def write_gallery(
    store: Store,
    record: Record,
    predictor: Predictor,
    shown: Sequence[Shown],
    images: Sequence[tuple[np.ndarray, np.ndarray]],
) -> None:
    """Write the gallery: its pictures, then its list.

    `images`: colours (H, W, 3) and mask (H, W) of each image in `shown`. After the list is written, files that it does
    not name are removed: the pictures of an earlier winner.
    """
    listed: list[dict[str, object]] = []
    for place, (one, (image_HW3, mask_HW)) in enumerate(zip(shown, images, strict=True)):
        file = f"{record.trial:05d}-{one.rank}-{place}-{file_part(one.id)}.png"
        strip = picture.strip(image_HW3, mask_HW, predictor.mask(image_HW3))
        store.write(f"gallery/{file}", picture.to_png(strip))
        listed.append({"file": file} | asdict(one))
    store.write_json("gallery/gallery.json", {"trial": record.trial, "id": record.id, "split": "val", "images": listed})
    for name in set(store.names("gallery")) - {"gallery.json", *(str(image["file"]) for image in listed)}:
        store.delete(f"gallery/{name}")


DUEL_IMAGES = 4
"""The most images on which each of the two is better."""
HEIGHT_PX = 256


@dataclass(frozen=True)
class Disagreement:
    """An image, and the IoU of each trial on it."""

    id: str
    ious: tuple[float, float]


def choose_duel(store: Store, one: Record, other: Record) -> list[Disagreement]:
    """Return the images on which `one` is better, then those on which `other` is, the largest lead first."""
    (ids, first), (_, second) = (
        counts.from_table(counts.from_parquet(store.read(record.path("val_counts"))).sort_values(["id", "class"]))
        for record in (one, other)
    )
    ious_N2 = np.stack([metrics.image_iou(found).numpy() for found in (first, second)], axis=1)
    lead_N = ious_N2[:, 0] - ious_N2[:, 1]
    order = np.argsort(-lead_N, kind="stable")
    won = [place for place in order[:DUEL_IMAGES] if lead_N[place] > 0]
    lost = [place for place in order[::-1][:DUEL_IMAGES] if lead_N[place] < 0]
    return [Disagreement(ids[place], (float(ious_N2[place, 0]), float(ious_N2[place, 1]))) for place in won + lost]


def write_duel(
    store: Store,
    records: tuple[Record, Record],
    predictors: tuple[Predictor, Predictor],
    apart: Sequence[Disagreement],
    images: Sequence[tuple[np.ndarray, np.ndarray]],
) -> None:
    """Write the duel: its pictures, then its list.

    `images`: colours (H, W, 3) and mask (H, W) of each image in `apart`. After the list is written, files that it does
    not name are removed: the pictures of an earlier pair.
    """
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
    """Return the panels side by side, all at the same height."""
    height, width = panels_HW3[0].shape[:2]
    width_px = max(1, round(HEIGHT_PX * width / height))
    strip = Image.new("RGB", (len(panels_HW3) * (width_px + picture.GAP_PX) - picture.GAP_PX, HEIGHT_PX), "white")
    for place, panel in enumerate(panels_HW3):
        scaled = Image.fromarray(panel).resize((width_px, HEIGHT_PX), Image.Resampling.BILINEAR)
        strip.paste(scaled, (place * (width_px + picture.GAP_PX), 0))
    return strip
