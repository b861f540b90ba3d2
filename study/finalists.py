"""The sealed test split, opened once: finalists are scored on it, after the search has ended.

Runs as one Ray task, on the kind of machine that trained, one GPU at most.
"""

import secrets
from pathlib import Path

import pandas as pd
import ray
import torch

from seg import batches, data, evaluate, metrics, native, pack, picture, predict
from seg.data.sample import Dataset
from seg.pack import Pack
from seg.predict import Predictor
from seg.ranks import Ranks
from study import counts
from study.messages import LaneSettings
from study.names import file_part
from study.records import Record
from study.store import Store

GALLERY = 4
"""Images of each rank in the gallery."""


Scored = tuple[dict[str, float], dict[str, str]]
"""Scores, and the files that their counts went to, as records name them."""


def score(
    settings: LaneSettings, dataset_name: str, data_dir: str, records: list[Record], winner: Record
) -> dict[int, Scored]:
    """Test scores of each trial, at training size and, as `native_*`, at the masks' own size. Blocks until done.

    Counts of every image go to the store; of the `winner`, its weights under the study's own name, and a gallery.
    """
    gpus = min(settings.gpus_per_worker, 1)
    task = ray.remote(_score).options(num_cpus=1, num_gpus=gpus, max_retries=1)
    return ray.get(task.remote(settings, dataset_name, data_dir, records, winner))


def _score(
    settings: LaneSettings, dataset_name: str, data_dir: str, records: list[Record], winner: Record
) -> dict[int, Scored]:
    torch.set_num_threads(settings.threads)
    device = torch.device("cuda" if settings.gpus_per_worker else "cpu")
    store = Store(settings.store_uri, settings.store_seconds)
    packed = pack.open_pack(Path(settings.pack_folder))
    dataset = data.load(dataset_name, Path(data_dir), download=False)
    scored = {}
    for record in records:
        predictor = predict.from_bytes(store.read(record.path("best")), device)
        scored[record.trial] = _score_one(predictor, store, packed, dataset, record)
    weights = store.read(winner.path("best"))
    write_gallery(predict.from_bytes(weights, device), store, dataset, winner)
    store.write(predict.BEST, weights)
    return scored


def _score_one(predictor: Predictor, store: Store, packed: Pack, dataset: Dataset, record: Record) -> Scored:
    test = batches.resident(packed, "test", predictor.device)
    small = evaluate.evaluate(
        predictor.model, test, predictor.experiment, packed.classes, Ranks(), predictor.device
    ).counts
    by_id = {sample.id: sample for sample in dataset.samples}
    samples = [by_id[i] for i in test.ids]
    large = native.count_native(predictor, dataset, samples)
    sizes = {"train": small, "native": large}
    tables = {
        "test_counts": [counts.to_table(test.ids, found).assign(size=size) for size, found in sizes.items()],
        "test_confusion": [counts.confusion_table(found).assign(size=size) for size, found in sizes.items()],
    }
    token = secrets.token_hex(3)
    files = {kind: f"{kind}-{token}.parquet" for kind in tables}
    for kind, parts in tables.items():
        store.write(f"{record.folder}/{files[kind]}", counts.to_parquet(pd.concat(parts)))
    at_native = {f"native_{name}": value for name, value in metrics.scores(large).items()}
    return metrics.scores(small) | at_native, files


def write_gallery(predictor: Predictor, store: Store, dataset: Dataset, record: Record) -> None:
    """The worst and the median validation images of a trial, as pictures, by the IoU of its recorded counts.

    The list is written last, and what it does not name is removed after that: the pictures of an earlier winner."""
    table = counts.from_parquet(store.read(record.path("val_counts")))
    ids, found = counts.from_table(table)
    per_image = metrics.image_iou(found)
    order = per_image.argsort().tolist()
    middle = len(order) // 2
    chosen = {"worst": order[:GALLERY], "median": order[middle - GALLERY // 2 : middle + GALLERY // 2]}
    by_id = {sample.id: sample for sample in dataset.samples}
    images: list[dict[str, object]] = []
    for rank, places in chosen.items():
        for place in places:
            image, mask = dataset.read(by_id[ids[place]])
            file = f"{record.trial:05d}-{rank}-{len(images)}-{file_part(ids[place])}.png"
            store.write(f"gallery/{file}", picture.to_png(picture.strip(image, mask, predictor.mask(image))))
            images.append({"file": file, "id": ids[place], "rank": rank, "iou": float(per_image[place])})
    listed = {"trial": record.trial, "id": record.id, "split": "val", "images": images}
    store.write_json("gallery/gallery.json", listed)
    for name in set(store.names("gallery")) - {"gallery.json", *(str(image["file"]) for image in images)}:
        store.delete(f"gallery/{name}")
