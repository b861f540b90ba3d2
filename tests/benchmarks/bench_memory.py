"""Memory that a study holds over 8,000 files at 256 pixels, beyond the pages of its pack.

    python tests/benchmarks/bench_memory.py [--images N] [--batch-size N]

One trial of an epoch on one lane, from `python -m study.run` to its last line. Counted are all its processes, Ray's
own included, and apart from these the worker that trains: only it could hold more for more images. The pack is made in
the first of the two studies. Pages of the pack are not counted: they are the kernel's cache of a file, which it takes
back when it needs them. Nor does a frozen encoder keep features here: how much of them is kept is the user's to say.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import figures
import memory
import numpy as np
from bench_scaling import phantom_pair
from PIL import Image

SPEC = """
dataset: folder
image_size: 256
trials: 1
epochs: 1
sampler: tpe
objective: {{metric: val_iou, mode: max}}
finalists: 1
encoder: {{weights: none}}
resources: {{feature_cache_gb: 0}}
fixed: {{batch_size: {batch_size}}}
search:
  model: mobilenetv2_plain
  loss: bce
  encoder_freeze: {frozen}
  encoder_lr: 1e-4
  decoder_lr: 1e-3
"""
SIZE = 256
LIMIT_GIB = 1.5


def make(folder: Path, number: int) -> None:
    image, mask = phantom_pair(number)
    rows = np.roll(image, number, axis=1)  # no two alike
    Image.fromarray(rows).resize((SIZE, SIZE)).save(folder / f"images/{number:05d}.jpg", quality=85)
    masks = Image.fromarray(np.roll(mask, number, axis=1)).resize((SIZE, SIZE), Image.Resampling.NEAREST)
    masks.save(folder / f"masks/{number:05d}.png")


def files(folder: Path, count: int) -> None:
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    with ProcessPoolExecutor() as processes:
        list(processes.map(partial(make, folder), range(count), chunksize=100))


def peak(folder: Path, frozen: bool, batch_size: int) -> memory.Peak:
    name = "frozen" if frozen else "fine-tuned"
    spec = folder / f"{name}.yaml"
    spec.write_text(SPEC.format(frozen=str(frozen).lower(), batch_size=batch_size))
    where = ["--data", str(folder / "data"), "--storage", str(folder), "--name", name, "--lanes", "1", "--no-report"]
    environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "STUDY_CACHE": str(folder / "packs")}
    process = subprocess.Popen(
        [sys.executable, "-m", "study.run", str(spec), *where], env=environment, stdout=sys.stderr
    )
    found = memory.watch(process, beyond=str((folder / "packs").resolve()))
    if process.returncode:
        raise RuntimeError(f"the study ended with {process.returncode}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=8000)
    parser.add_argument("--batch-size", type=int, default=8)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        files(folder / "data", given.images)
        for frozen in (True, False):
            found = peak(folder, frozen, given.batch_size)
            how = (
                f"{given.images} images at {SIZE} px, {'frozen' if frozen else 'fine-tuned'}, batch {given.batch_size}"
            )
            figures.save(
                {
                    f"GiB of the worker, {how}": {
                        "value": max(size for name, size in found.most.items() if "RayTrainWorker" in name) / 2**30,
                        "goal": LIMIT_GIB,
                        "at_most": True,
                    },
                    f"GiB of all processes, {how}": {
                        "value": found.total / 2**30,
                        "goal": LIMIT_GIB,
                        "at_most": True,
                        "largest": [[round(size / 2**30, 3), command] for size, command in found.processes[:10]],
                    },
                }
            )


if __name__ == "__main__":
    main()
