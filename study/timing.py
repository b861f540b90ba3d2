"""How long a study's experiments take to train, from a few steps of each kind on random pixels, on this machine."""

import statistics
from dataclasses import replace
from itertools import product

import torch

from seg import loop
from seg.experiment import Experiment
from seg.pixels import Pixels
from study import conditions
from study.dimension import Dimension, Value, ends
from study.spec import Spec

IMAGES = 16
EPOCHS = 4
"""The fastest counts: the first ones warm up, and other programs may run beside."""
TINY = 1e-12


def seconds_per_image(spec: Spec, threads: int) -> float:
    """Of training, as the study's trials train: the mean over its architectures, with the encoder frozen and trained
    where both are searched, and its baselines."""
    torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return statistics.mean(_seconds_per_image(kind, device) for kind in kinds(spec))


def kinds(spec: Spec) -> list[Experiment]:
    """One for each architecture and each way to train its encoder; every other choice is the first of its dimension."""
    found = [conditions.published(spec, baseline) for baseline in spec.baselines]
    searched = conditions.by_field(spec)
    models, flags = (ends(searched.get(name, ())) for name in ("model", "encoder_freeze"))
    for model, frozen in product(models, flags or (False,)):
        found.append(conditions.determine(spec, _with({"model": model, "encoder_freeze": frozen})))
    return list({(one.model, one.encoder_freeze): one for one in found}.values())


def _with(given: dict[str, Value]) -> conditions.Choose:
    def choose(name: str, dimension: Dimension) -> Value:
        return given[name] if name in given else conditions.first(name, dimension)

    return choose


def _seconds_per_image(chosen: Experiment, device: torch.device) -> float:
    """Rates of nearly nothing take as long, and random images cannot make the loss diverge."""
    timed = replace(
        chosen,
        epochs=EPOCHS,
        decoder_lr=TINY,
        encoder_lr=None if chosen.encoder_freeze else TINY,
        encoder_frozen_epochs=0,
        encoder_weights="none",
    )
    run = loop.start(timed, _data(chosen.image_size, device), device)
    return 1 / max(result.images_per_second for result in loop.epochs(run))


def _data(size: int, device: torch.device) -> loop.Data:
    def pixels(images: int) -> Pixels:
        rgb = torch.randint(0, 256, (images, size, size, 3), dtype=torch.uint8)
        masks = torch.randint(0, 2, (images, size, size), dtype=torch.uint8)
        return Pixels([str(i) for i in range(images)], torch.arange(images), rgb, masks, device)

    counts = torch.full((IMAGES, 2), size * size // 2)
    return loop.Data(pixels(IMAGES), pixels(1), ("background", "object"), counts)
