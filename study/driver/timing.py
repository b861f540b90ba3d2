"""Time the training of a study's experiments, by a few steps of each kind on random pixels, on this machine.

Timings are kept beside the packs for an hour, so that the study that follows a dry run need not repeat them.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from seg import loop, pack
from seg.device.pixels import Pixels
from seg.experiment import Experiment

IMAGES = 8
MIN_STEPS, STEPS = 3, 12
SECONDS, MORE_SECONDS = 1.0, 0.2
"""Seconds of timing: SECONDS for the first kind of experiment, MORE_SECONDS for each further kind.

A step has IMAGES images, and there are MIN_STEPS to STEPS steps. The fastest one counts, because the first one warms
up and other programs may run beside. The recipe is timed first, because the plan rests on it.
"""
SIZE = 128
"""The size of the timed images, in pixels. The time of larger images grows in proportion to their pixels."""
TINY = 1e-12
FILE = "timings.json"
KEPT_SECONDS = 3600.0
"""Seconds for which a timing is used again. After that, the machine may no longer be as busy as it was."""

Known = dict[str, tuple[float, float]]
"""The seconds of an image by kind of experiment, each with the time when it was measured, by time.time."""


class Timer:
    """A callable that returns the seconds that a training image takes in an experiment, on one lane.

    Each kind of experiment is timed once. Its kind is its model, whether the encoder is frozen, its precision, and its
    augmentation.
    """

    def __init__(self, threads: int, say: Callable[[str], None] = lambda line: None):
        """`threads`: of the lane. `say` receives a line on what is being timed."""
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
    """Return the timings of the last hour; an empty dict if the file is missing or damaged."""
    try:
        found = json.loads(_path().read_text())
        timed = {str(kind): (float(seconds), float(when)) for kind, (seconds, when) in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
    return {kind: of for kind, of in timed.items() if of[0] > 0 and 0 <= time.time() - of[1] < KEPT_SECONDS}


def _write(known: Known) -> None:
    """Write the timings as a whole or not at all. If that fails, the only cost is to time again."""
    path = _path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(f".{os.getpid()}")
        beside.write_text(json.dumps(known, indent=1))
        beside.replace(path)
    except OSError:
        pass


def _seconds_per_image(experiment: Experiment, device: torch.device, threads: int, seconds: float) -> float:
    """Return the seconds that a training image takes.

    The learning rates are almost zero: a step takes just as long, and random images cannot make the loss diverge.
    """
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
            if step >= MIN_STEPS and time.perf_counter() - began > seconds:
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
