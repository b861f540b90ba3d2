"""Two of something over one: two workers of one trial with a thread each, and two threads that pack.

    python tests/benchmarks/bench_scaling.py [--rounds N] [--images N]

Side by side in turn, round by round. The workers are plain processes with gloo between them, without Ray. Packing is
timed as a command of its own, held to one core or to two; beside it, libjpeg's share alone: the same files decoded.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import figures
import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing
from PIL import Image

from seg import data, loop, pack
from seg.data.image_file import read_image
from seg.device import memory
from seg.experiment import Experiment
from seg.pack import build
from seg.pack.packing import resize_image
from seg.ranks import Ranks

CPU = torch.device("cpu")
EPOCHS = 3
CAMERA = (1024, 768)
PACK = """
import sys, tempfile, time
from pathlib import Path
from seg import pack
from seg.data.folder import load
dataset = load(Path(sys.argv[1]))
with tempfile.TemporaryDirectory() as folder:
    began = time.perf_counter()
    pack.build(dataset, 128, folder, progress=False)
    print(time.perf_counter() - began)
"""


def chosen() -> Experiment:
    return Experiment(
        dataset="phantom",
        image_size=128,
        model="mobilenetv2_skip",
        loss="bce",
        epochs=1000,
        encoder_lr=1e-4,
        decoder_lr=1e-3,
        batch_size=32,
        encoder_weights="none",
    )


def train(rank: int, world: int, folder: str, out: str) -> None:
    torch.set_num_threads(2 // world)
    memory.keep_freed_memory()
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{out}/group", rank=rank, world_size=world)
    results = loop.epochs(
        loop.start(chosen(), loop.load(pack.open_pack(folder, verify=False), CPU), CPU, ranks=Ranks.current())
    )
    next(results)
    rates = [next(results).images_per_second for _ in range(EPOCHS)]
    if rank == 0:
        Path(out, "rate").write_text(str(statistics.median(rates)))
    if world > 1:
        dist.destroy_process_group()


def images_per_second(world: int, folder: str) -> float:
    with tempfile.TemporaryDirectory() as out:
        torch.multiprocessing.spawn(train, (world, folder, out), nprocs=world)
        return float(Path(out, "rate").read_text())


def photographs(folder: Path, count: int) -> None:
    """Files of the size of a camera's: 1024 x 768 JPEG, masks as PNG."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
    for number in range(count):
        small, mask = phantom_pair(number)
        Image.fromarray(small).resize(CAMERA, Image.Resampling.BICUBIC).save(
            folder / f"images/{number:05d}.jpg", quality=90
        )
        Image.fromarray(mask).resize(CAMERA, Image.Resampling.NEAREST).save(folder / f"masks/{number:05d}.png")


def phantom_pair(number: int) -> tuple[np.ndarray, np.ndarray]:
    dataset = data.load("phantom", Path("nowhere"))
    image, mask = dataset.read(dataset.samples[number % len(dataset.samples)])
    return image, (255 * (mask > 0)).astype(np.uint8)


def packing_seconds(folder: Path, cores: int) -> float:
    with_cores = ["taskset", "-c", ",".join(map(str, sorted(os.sched_getaffinity(0))[:cores]))]
    done = subprocess.run(
        [*with_cores, sys.executable, "-c", PACK, str(folder)], stdout=subprocess.PIPE, text=True, check=True
    )
    return float(done.stdout.splitlines()[-1])


def decoding_seconds(folder: Path) -> float:
    """Of all images, on two cores, with nothing else: no pack could be made faster from whole images."""
    began = time.perf_counter()
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda path: Image.open(path).load(), sorted((folder / "images").iterdir())))
    return time.perf_counter() - began


def reduced_errors(folder: Path, size: int) -> np.ndarray:
    """Of each image, how far its pixels in a pack are on average from what they were if all of the JPEG was decoded;
    in levels of 255."""
    return np.array(
        [
            np.abs(
                resize_image(read_image(path, least=build.REDUCED * size), size).astype(int)
                - resize_image(read_image(path), size)
            ).mean()
            for path in sorted(folder.rglob("*.jpg"))
        ]
    )


def compared(rounds: int, one: Callable[[], float], two: Callable[[], float]) -> tuple[list[float], list[float]]:
    found: tuple[list[float], list[float]] = [], []
    for number in range(rounds):
        for side in (0, 1) if number % 2 else (1, 0):
            found[side].append((one, two)[side]())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=800, help="to pack")
    given = parser.parse_args()
    os.environ["MALLOC_ARENA_MAX"] = "1"  # of the workers
    folder = str(pack.build(data.load("phantom", Path("nowhere")), 128, pack.default_root()).folder)
    one, two = compared(given.rounds, lambda: images_per_second(1, folder), lambda: images_per_second(2, folder))
    ratios = [b / a for a, b in zip(one, two, strict=True)]
    figure: dict[str, Any] = {"value": statistics.median(ratios), "goal": 0.9, "ratios": ratios}
    figures.save({"images/s of 2 workers with 1 thread, over 1 with 2": figure | {"one": one, "two": two}})
    with tempfile.TemporaryDirectory() as made:
        photographs(Path(made), given.images)
        one, two = compared(
            given.rounds, lambda: packing_seconds(Path(made), 1), lambda: packing_seconds(Path(made), 2)
        )
        least = [decoding_seconds(Path(made)) for _ in range(given.rounds)]
        real = Path(os.environ.get("STUDY_DATA") or Path(__file__).parents[3] / "shared" / "data") / "coco"
        errors = reduced_errors(*((real, 64) if real.is_dir() else (Path(made), 128)))
    ratios = [a / b for a, b in zip(one, two, strict=True)]
    figures.save(
        {
            "packing on 1 core, over 2": {
                "value": statistics.median(ratios),
                "goal": 1.8,
                "ratios": ratios,
                "one": one,
                "two": two,
            },
            "packing on 2 cores, over libjpeg's decoding of the images alone": {
                "value": statistics.median(two) / statistics.median(least),
                "decoding": least,
            },
            "pixels of a pack, off by reduced decoding on average, of 255": {
                "value": errors.mean(),
                "worst_image": errors.max(),
                "images": len(errors),
            },
        }
    )


if __name__ == "__main__":
    main()
