"""The published decoder with skips (R3) on real dermoscopy, 15 epochs: how good, at training and at native size.

    python tests/benchmarks/bench_reference.py [--epochs N] [--normalize imagenet|unit]

Needs isic2016 and mobilenet_v2.pth under $STUDY_DATA or ../shared/data. Trains on the training split without its
validation fifth, scores the last epoch's weights once on the test split. No Ray.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import torch

from seg import checkpoint, data, loop, metrics, pack, predict
from seg.device import pixels
from seg.evaluate import evaluate
from seg.experiment import Experiment


def experiment(epochs: int, normalize: str) -> Experiment:
    return Experiment(
        dataset="isic2016",
        image_size=128,
        model="mobilenetv2_skip",
        loss="bce",
        epochs=epochs,
        encoder_lr=1e-4,
        decoder_lr=1e-2,
        batch_size=45,
        optimizer="adam",
        schedule="cosine",
        augment="flips",
        normalize=normalize,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--normalize", default="imagenet", choices=("imagenet", "unit"))
    given = parser.parse_args()
    folder = Path(os.environ.get("STUDY_DATA") or Path(__file__).parents[3] / "shared" / "data")
    if not (folder / "isic2016").is_dir():
        print(f"skipped: no isic2016 in {folder}; name its folder in STUDY_DATA")
        return 0
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dataset = data.load("isic2016", folder)
    packed = pack.build(dataset, 128, pack.default_root())
    print(f"{dataset.remark}; masks as they lie in {folder.name}/isic2016")
    run = loop.start(experiment(given.epochs, given.normalize), loop.load(packed, device), device, folder / "weights")
    began = time.perf_counter()
    for result in loop.epochs(run):
        row = result.row
        print(
            f"epoch {row['epoch']:3d}  train_loss {row['train_loss']:.4f}  val_loss {row['val_loss']:.4f}  "
            f"val_iou {row['val_iou']:.4f}  {row['images_per_second']:.0f} images/s",
            flush=True,
        )
    print(f"trained in {time.perf_counter() - began:.0f} s on {device}, {torch.get_num_threads()} threads")
    test = pixels.load(packed, "test", device)
    small = evaluate(run.model, test, run.experiment, packed.classes, run.ranks, device).counts
    predictor = predict.from_bytes(checkpoint.snapshot(run).weights(run).to_bytes(), device)
    by_id = {sample.id: sample for sample in dataset.samples}
    large = predict.count_native([predictor], dataset, [by_id[i] for i in test.ids])
    for size, counts in (("training", small), ("native", large)):
        scores = metrics.scores(counts)
        print(f"test at {size:8s} size: " + "  ".join(f"{n} {scores[n]:.4f}" for n in SHOWN))
    return 0


SHOWN = ("iou", "dice", "soft_iou", "soft_dice", "iou_pooled", "sensitivity", "specificity")

if __name__ == "__main__":
    sys.exit(main())
