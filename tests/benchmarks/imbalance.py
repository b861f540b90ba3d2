"""What class weights, focal Tversky and oversampling each do to the rarest class, on the five-class phantom.

    python tests/benchmarks/imbalance.py [--epochs N] [--seeds N] [--image-size PX] [--model NAME]

Everything else is equal: model, epochs, learning rates, images, seeds; the last epoch's weights are scored on the
test split, so nothing is selected. Prints a table and writes results/<date>-imbalance-<device>.json. No Ray.
Encoder weights are ImageNet's where $STUDY_DATA or ../shared/data has them, else random (the table says which).
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import torch

from seg import batches, data, loop, metrics, pack
from seg.device import pixels
from seg.evaluate import evaluate
from seg.experiment import Experiment
from seg.pack import Pack

DATASET = "phantom5"
ARMS: dict[str, dict[str, Any]] = {
    "ce": {"loss": "ce"},
    "weighted_ce, power 0.5": {"loss": "weighted_ce", "loss_parameters": {"power": 0.5}},
    "weighted_ce, power 1": {"loss": "weighted_ce", "loss_parameters": {"power": 1.0}},
    "focal_tversky": {"loss": "focal_tversky"},
    "ce, oversample 0.5": {"loss": "ce", "oversample": 0.5},
    "ce, oversample 1": {"loss": "ce", "oversample": 1.0},
}
SHOWN = ("rarest", "iou", "iou_foreground", "pixel_accuracy")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--model", default="mobilenetv2_skip")
    given = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    packed = pack.build(data.load(DATASET, Path(".")), given.image_size)
    weights_dir = _weights_dir()
    training = torch.from_numpy(packed.class_pixels_NC[packed.indices("train")])
    images, pixels = batches.shares(training, torch.ones(len(training), dtype=torch.float64))
    rarest = min(range(packed.classes), key=images.__getitem__)
    print(f"{len(training)} training images; class: of images, of pixels")
    for name, of_images, of_pixels in zip(packed.class_names, images, pixels, strict=True):
        print(f"  {name:12s} {of_images:7.1%} {of_pixels:8.2%}")
    print(f"rarest: {packed.class_names[rarest]}; encoder weights: {'ImageNet' if weights_dir else 'random'}")
    results: dict[str, list[dict[str, float]]] = {name: [] for name in ARMS}
    for seed in range(given.seeds):
        for name, choices in ARMS.items():
            experiment = _experiment(given, seed, bool(weights_dir), choices)
            results[name].append(_run(experiment, packed, weights_dir, device, rarest))
            print(f"seed {seed}  {name:24s} {_line(results[name][-1:])}", flush=True)
    print(f"\nmean ± standard deviation over {given.seeds} seeds, test split, {given.epochs} epochs")
    for name, found in results.items():
        print(f"{name:24s} {_line(found)}")
    _write(given, results, packed.class_names[rarest], bool(weights_dir), device)
    return 0


def _weights_dir() -> Path | None:
    folder = Path(os.environ.get("STUDY_DATA") or Path(__file__).parents[3] / "shared" / "data") / "weights"
    return folder if (folder / "mobilenet_v2.pth").is_file() else None


def _experiment(given: argparse.Namespace, seed: int, pretrained: bool, choices: dict[str, Any]) -> Experiment:
    return Experiment(
        dataset=DATASET,
        image_size=given.image_size,
        model=given.model,
        epochs=given.epochs,
        encoder_lr=3e-4,
        decoder_lr=3e-3,
        encoder_weights="imagenet" if pretrained else "none",
        seed=seed,
        **choices,
    )


def _run(
    experiment: Experiment, packed: Pack, weights_dir: Path | None, device: torch.device, rarest: int
) -> dict[str, float]:
    began = time.perf_counter()
    run = loop.start(experiment, loop.load(packed, device), device, weights_dir)
    for _ in loop.epochs(run):
        pass
    seconds = time.perf_counter() - began
    test = pixels.load(packed, "test", device)
    counts = evaluate(run.model, test, experiment, packed.classes, run.ranks, device).counts
    return {"rarest": float(metrics.iou(counts.hard.sum(0))[rarest]), "seconds": seconds} | metrics.scores(counts)


def _line(found: list[dict[str, float]]) -> str:
    return "  ".join(f"{name} {_spread([scores[name] for scores in found])}" for name in SHOWN)


def _spread(values: list[float]) -> str:
    mean = f"{statistics.mean(values):.3f}"
    return f"{mean} ± {statistics.stdev(values):.3f}" if len(values) > 1 else mean


def _write(
    given: argparse.Namespace,
    results: dict[str, list[dict[str, float]]],
    rarest: str,
    pretrained: bool,
    device: torch.device,
) -> None:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu{os.cpu_count()}-{platform.machine()}"
    path = Path(__file__).parent / "results" / f"{date.today()}-imbalance-{name.replace(' ', '-')}.json"
    content = {"options": vars(given), "rarest": rarest, "pretrained": pretrained, "device": name, "results": results}
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(f"written: {path}")


if __name__ == "__main__":
    sys.exit(main())
