"""The sealed test split, opened once: finalists are scored on it, after the search has ended.

Runs as one Ray task, on the kind of machine that trained, one GPU at most.
"""

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
from study.records import read_record, trial_folder
from study.store import Store

GALLERY = 4
"""Images of each rank in the gallery."""


def score(
    settings: LaneSettings, dataset_name: str, data_dir: str, trials: list[int], winner: int
) -> dict[int, dict[str, float]]:
    """Test scores of each trial, at training size and, as `native_*`, at the masks' own size. Blocks until done.

    Counts of every image go to the store; of the `winner`, its weights under the study's own name, and a gallery.
    """
    gpus = min(settings.gpus_per_worker, 1)
    task = ray.remote(_score).options(num_cpus=1, num_gpus=gpus, max_retries=1)
    return ray.get(task.remote(settings, dataset_name, data_dir, trials, winner))


def _score(
    settings: LaneSettings, dataset_name: str, data_dir: str, trials: list[int], winner: int
) -> dict[int, dict[str, float]]:
    torch.set_num_threads(settings.threads)
    device = torch.device("cuda" if settings.gpus_per_worker else "cpu")
    store, packed = Store(settings.store_uri), pack.open_pack(Path(settings.pack_folder))
    dataset = data.load(dataset_name, Path(data_dir), download=False)
    scores = {}
    for trial in trials:
        predictor = predict.from_bytes(store.read(f"{trial_folder(trial)}/{predict.BEST}"), device)
        scores[trial] = _score_one(predictor, store, packed, dataset, trial)
    weights = store.read(f"{trial_folder(winner)}/{predict.BEST}")
    write_gallery(predict.from_bytes(weights, device), store, dataset, winner)
    store.write(predict.BEST, weights)
    return scores


def _score_one(predictor: Predictor, store: Store, packed: Pack, dataset: Dataset, trial: int) -> dict[str, float]:
    test = batches.resident(packed, "test", predictor.device)
    small = evaluate.evaluate(
        predictor.model, test, predictor.experiment, packed.classes, Ranks(), predictor.device
    ).counts
    by_id = {sample.id: sample for sample in dataset.samples}
    samples = [by_id[i] for i in test.ids]
    large = native.count_native(predictor, dataset, samples)
    sizes = {"train": small, "native": large}
    tables = {
        "counts": [counts.to_table(test.ids, found).assign(size=size) for size, found in sizes.items()],
        "confusion": [counts.confusion_table(found).assign(size=size) for size, found in sizes.items()],
    }
    for name, parts in tables.items():
        store.write(f"{trial_folder(trial)}/test_{name}.parquet", counts.to_parquet(pd.concat(parts)))
    at_native = {f"native_{name}": value for name, value in metrics.scores(large).items()}
    return metrics.scores(small) | at_native


def write_gallery(predictor: Predictor, store: Store, dataset: Dataset, trial: int) -> None:
    """The worst and the median validation images of a trial, as pictures, by the IoU of its recorded counts."""
    table = counts.from_parquet(store.read(f"{trial_folder(trial)}/val_counts.parquet"))
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
            file = f"{rank}-{len(images)}-{ids[place]}.png"
            store.write(f"gallery/{file}", picture.to_png(picture.strip(image, mask, predictor.mask(image))))
            images.append({"file": file, "id": ids[place], "rank": rank, "iou": float(per_image[place])})
    record = read_record(store, trial)
    store.write_json("gallery/gallery.json", {"trial": trial, "id": record.id, "split": "val", "images": images})
