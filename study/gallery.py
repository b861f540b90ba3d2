"""Pictures of the best trial: the worst and the median validation images, by the IoU of its recorded counts."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from seg import metrics, picture
from seg.predict import Predictor
from study import counts
from study.names import file_part
from study.records import Record
from study.store import Store

EACH = 4
"""Images of each rank."""


@dataclass(frozen=True)
class Shown:
    id: str
    rank: str
    """`worst` or `median`."""
    iou: float


def choose(store: Store, record: Record) -> list[Shown]:
    ids, found = counts.from_table(counts.from_parquet(store.read(record.path("val_counts"))))
    per_image = metrics.image_iou(found)
    order = per_image.argsort().tolist()
    middle = len(order) // 2
    chosen = {"worst": order[:EACH], "median": order[middle - EACH // 2 : middle + EACH // 2]}
    return [Shown(ids[place], rank, float(per_image[place])) for rank, places in chosen.items() for place in places]


def write(
    store: Store,
    record: Record,
    predictor: Predictor,
    shown: Sequence[Shown],
    images: Sequence[tuple[np.ndarray, np.ndarray]],
) -> None:
    """`images`: of each one shown, colours (H, W, 3) and mask (H, W).

    The list is written last, and what it does not name is removed after that: the pictures of an earlier winner."""
    listed: list[dict[str, object]] = []
    for place, (one, (image_HW3, mask_HW)) in enumerate(zip(shown, images, strict=True)):
        file = f"{record.trial:05d}-{one.rank}-{place}-{file_part(one.id)}.png"
        strip = picture.strip(image_HW3, mask_HW, predictor.mask(image_HW3))
        store.write(f"gallery/{file}", picture.to_png(strip))
        listed.append({"file": file} | asdict(one))
    store.write_json("gallery/gallery.json", {"trial": record.trial, "id": record.id, "split": "val", "images": listed})
    for name in set(store.names("gallery")) - {"gallery.json", *(str(image["file"]) for image in listed)}:
        store.delete(f"gallery/{name}")
