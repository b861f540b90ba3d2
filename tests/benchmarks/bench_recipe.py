"""The experiments that chose the recipe: one configuration on one dataset, scored at native size on its test images.

    python tests/benchmarks/bench_recipe.py pets60|dsb2018|camvid|isic2016[:N] [--set FIELD=VALUE ...] [--splits N]

FIELD is one of seg.experiment.Experiment; all others are the recipe's. Three sets of weights of the same training are
scored: those of the epoch with the best validation score, those of the last epoch, and the average of the steps. A row
an experiment and split is added to analysis/results/recipe/experiments.csv. `pets60` is a folder of sixty photographs
(the first sixty ids of trainval.txt in the order of the SHA-256 of their names), ten of which validate, nine are left
out; which ones changes with the split. All 298 official test images are scored.
"""

import argparse
import csv
import dataclasses
import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import figures
import numpy as np
import torch
import yaml
from PIL import Image

from seg import data, loop, metrics, pack
from seg.data import Dataset
from seg.experiment import Experiment
from seg.models.segmenter import Segmenter
from seg.predict import Predictor, count_native
from study.search import space
from study.spec import load_spec

ROOT = Path(__file__).parents[2]
OUT = ROOT / "analysis" / "results" / "recipe" / "experiments.csv"
PHOTOS, VALIDATING, LEFT_OUT = 60, 10, 9
EPOCHS = {"pets60": 60, "dsb2018": 30, "camvid": 50}
COLUMNS = OUT.read_text().partition("\n")[0].split(",")
PET = (1, 3)
"""Trimap values that count as pet: the animal and its outline."""


def data_dir() -> Path:
    return Path(os.environ.get("STUDY_DATA") or ROOT.parent / "shared" / "data")


def pets60(source: Path, split: int, root: Path) -> Dataset:
    """Sixty photographs and the official test images as a user's own folder."""
    names = [(source / "annotations" / f"{part}.txt").read_text().splitlines() for part in ("trainval", "test")]
    train, test = ([line.split()[0] for line in lines if line and not line.startswith("#")] for lines in names)
    photos = sorted(train, key=lambda name: hashlib.sha256(name.encode()).hexdigest())[:PHOTOS]
    order = sorted(photos, key=lambda name: hashlib.sha256(f"{split} {name}".encode()).hexdigest())
    parts = {"val": order[LEFT_OUT : LEFT_OUT + VALIDATING], "train": order[LEFT_OUT + VALIDATING :], "test": test}
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for name in (name for part in parts.values() for name in part):
        shutil.copy(source / "images" / f"{name}.jpg", root / "images")
        trimap = np.array(Image.open(source / "annotations" / "trimaps" / f"{name}.png"))
        Image.fromarray((np.isin(trimap, PET) * 255).astype(np.uint8)).save(root / "masks" / f"{name}.png")
    rows = [f"{name},{part}" for part, members in parts.items() for name in members]
    (root / "splits.csv").write_text("\n".join(["id,split", *rows]))
    return data.load("folder", root, download=False)


def dataset(name: str, split: int, root: Path) -> Dataset:
    """Only pets60 has several splits: the others' test images are given with them."""
    real = data_dir()
    if name == "pets60":
        return pets60(real / "oxford-iiit-pet", split, root / "photos")
    return data.load(name, real, download=False) if name.startswith("isic") else data.load("folder", real / name, False)


@dataclass
class Kept:
    """The best epoch's weights so far."""

    score: float = -1.0
    epoch: int = 0
    weights: dict[str, torch.Tensor] = dataclasses.field(default_factory=dict)


def run(name: str, experiment: Experiment, split: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        images = dataset(name, split, Path(folder))
        packed = pack.build(images, experiment.image_size, Path(folder) / "packs", progress=False)
        device = figures.device()
        run = loop.start(experiment, loop.load(packed, device), device, data_dir() / "weights")
        best = Kept()
        for result in loop.epochs(run):
            last = metrics.scores(result.validation.counts)["iou"]
            if last > best.score:
                weights = {key: value.clone() for key, value in run.model.state_dict().items()}
                best = Kept(last, result.epoch, weights)
        test = [sample for sample in images.samples if sample.split == "test"]

        def score(model: Segmenter) -> float:
            predictor = Predictor(model.eval(), run.experiment, images.class_names, device)
            return round(metrics.scores(count_native([predictor], images, test))["iou"], 4)

        steps = experiment.epochs * -(-len(packed.indices("train")) // experiment.batch_size)
        found: dict[str, object] = {"steps": steps, "best_epoch": best.epoch, "val_iou": round(last, 4)}
        found["test_last"] = score(run.model)
        found["test_average"] = score(run.average.model) if run.average else ""
        run.model.load_state_dict(best.weights)
        return found | {"test_best": score(run.model)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", nargs="?", default="pets60", help="pets60 (default), dsb2018, camvid or isic2016[:N]")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--splits", type=int, default=1, help="of pets60; seeds of the others")
    given = parser.parse_args()
    recipe = space.baselines(load_spec("recipe"))[0][1]
    changes = {key: yaml.safe_load(value) for key, _, value in (each.partition("=") for each in given.set)}
    for split in range(given.splits):
        seed = 0 if given.data == "pets60" else split
        chosen = dataclasses.replace(recipe, epochs=EPOCHS.get(given.data, 20), seed=seed)
        chosen = dataclasses.replace(chosen, **changes)
        row = {"data": given.data, "split": split, "seed": seed, "model": chosen.model, "image_size": chosen.image_size}
        row |= {"epochs": chosen.epochs, "changes": " ".join(given.set)} | run(given.data, chosen, split)
        print(row, flush=True)
        with OUT.open("a", newline="") as file:
            csv.DictWriter(file, COLUMNS).writerow(row)


if __name__ == "__main__":
    main()
