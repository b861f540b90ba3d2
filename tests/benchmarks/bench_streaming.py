"""Training on pixels that are streamed from the memory map, over training on those that the device holds.

    python tests/benchmarks/bench_streaming.py [--epochs N] [--image-size PX]

Epochs of the same trial in turn, in one process, on synthetic images. A CPU needs no streaming, since it maps the pack
itself: there it is forced, and shows what the gathering thread costs where it has no core of its own.
"""

import argparse
import statistics
from dataclasses import replace
from pathlib import Path

import figures
import torch

from seg import data, loop, pack
from seg.experiment import Experiment


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--image-size", type=int, default=128)
    given = parser.parse_args()
    device = figures.device()
    packed = pack.build(data.load("phantom", Path("nowhere")), given.image_size)
    held = loop.load(packed, device, room_bytes=float("inf"))
    sent = loop.load(packed, device, room_bytes=0)
    sent = replace(sent, train=replace(sent.train, streamed=True), val=replace(sent.val, streamed=True))
    chosen = Experiment(
        dataset="phantom",
        image_size=given.image_size,
        model="mobilenetv2_skip",
        loss="bce",
        epochs=given.epochs + 1,
        encoder_lr=1e-4,
        decoder_lr=1e-2,
        encoder_weights="none",
    )
    sides = [loop.epochs(loop.start(chosen, one, device)) for one in (held, sent)]
    for side in sides:
        next(side)  # warms up
    rates = [[next(side).images_per_second for side in sides] for _ in range(given.epochs)]
    ratios = [streamed / resident for resident, streamed in rates]
    figures.save(
        {
            f"images/s of streamed pixels, over resident ones, on a {device.type.upper()}": {
                "value": statistics.median(ratios),
                "goal": 0.95,
                "ratios": ratios,
                "threads": torch.get_num_threads(),
            }
        }
    )


if __name__ == "__main__":
    main()
