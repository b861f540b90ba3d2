"""How long a study's experiments take to train: timed by a few steps of each kind on random pixels, on this machine.

What was timed is kept beside the packs for an hour, so that the study that follows a dry run need not time it again.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from seg import loop, pack
from seg.experiment import Experiment
from seg.pixels import Pixels

IMAGES = 8
FEWEST_STEPS, STEPS = 3, 12
SECONDS, MORE_SECONDS = 1.0, 0.2
"""Steps of IMAGES images each: until so much time has passed, but not fewer or more than so many. The fastest counts:
the first one warms up, and other programs may run beside. What is timed first is the recipe, which the plan rests on;
the others take MORE_SECONDS."""
SIZE = 128
"""Of the images that are timed, in pixels. Larger ones take as many times longer as they have more pixels."""
TINY = 1e-12
FILE = "timings.json"
KEPT_SECONDS = 3600.0
"""For so long a timing is used again: the machine may have been busy, and be so no more."""

Known = dict[str, tuple[float, float]]
"""By kind: seconds of an image, and when that was timed, by time.time."""


class Timer:
    """Seconds that a training image takes in an experiment, on one lane of so many threads. Each kind of experiment is
    timed once: its model, whether the encoder is frozen, and its precision."""

    def __init__(self, threads: int, say: Callable[[str], None] = lambda line: None):
        """`say` is told in a line what is being timed."""
        self._threads, self._say = threads, say
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        name = torch.cuda.get_device_name() if self._device.type == "cuda" else f"{threads} threads"
        self._machine = f"{name}, torch {torch.__version__}"
        self._known = _read()

    def __call__(self, experiment: Experiment) -> float:
        frozen = " frozen" if experiment.encoder_freeze else ""
        kind = f"{experiment.model}{frozen}, {experiment.precision}, {experiment.augment}; {self._machine}"
        if kind not in self._known:
            self._say(f"timing {experiment.model}{frozen} ...")
            seconds = MORE_SECONDS if self._known else SECONDS
            self._known[kind] = _seconds_per_image(experiment, self._device, self._threads, seconds), time.time()
            _write(self._known)
        return self._known[kind][0] * (experiment.image_size / SIZE) ** 2


def _path() -> Path:
    return pack.default_root().parent / FILE


def _read() -> Known:
    """What was timed here within the last hour; nothing if the file is missing or damaged."""
    try:
        found = json.loads(_path().read_text())
        timed = {str(kind): (float(seconds), float(when)) for kind, (seconds, when) in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
    return {kind: of for kind, of in timed.items() if of[0] > 0 and 0 <= time.time() - of[1] < KEPT_SECONDS}


def _write(known: Known) -> None:
    """Whole or not at all. A folder that cannot be written costs no more than timing again."""
    path = _path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(f".{os.getpid()}")
        beside.write_text(json.dumps(known, indent=1))
        beside.replace(path)
    except OSError:
        pass


def _seconds_per_image(experiment: Experiment, device: torch.device, threads: int, seconds: float) -> float:
    """Rates of nearly nothing take as long, and random images cannot make the loss diverge."""
    timed = replace(
        experiment,
        image_size=SIZE,
        epochs=STEPS,
        batch_size=IMAGES,
        decoder_lr=TINY,
        encoder_lr=None if experiment.encoder_freeze else TINY,
        encoder_frozen_epochs=0,
        encoder_weights="none",
    )
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        run, began, fastest = loop.start(timed, _data(device), device), time.perf_counter(), 0.0
        for step, result in enumerate(loop.epochs(run), 1):
            fastest = max(fastest, result.images_per_second)
            if step >= FEWEST_STEPS and time.perf_counter() - began > seconds:
                break
        return 1 / fastest
    finally:
        torch.set_num_threads(before)


def _data(device: torch.device) -> loop.Data:
    def pixels(images: int) -> Pixels:
        rgb = torch.randint(0, 256, (images, SIZE, SIZE, 3), dtype=torch.uint8)
        masks = torch.randint(0, 2, (images, SIZE, SIZE), dtype=torch.uint8)
        return Pixels([str(i) for i in range(images)], torch.arange(images), rgb, masks, device)

    counts = torch.full((IMAGES, 2), SIZE * SIZE // 2)
    return loop.Data(pixels(IMAGES), pixels(1), ("background", "object"), counts)
