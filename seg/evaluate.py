"""Scoring a model on a split: integer counts of every image, each image once, however many ranks."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from seg import features as frozen
from seg import metrics
from seg.batches import normalise
from seg.experiment import Experiment
from seg.metrics import Counts
from seg.models.segmenter import Segmenter
from seg.pixels import Pixels
from seg.precision import autocast
from seg.ranks import Ranks

BATCH = 64
"""Images that a model sees at a time: on a CPU, of more than SIDE² pixels, as many fewer."""
SIDE = 128


def _compute(model: Segmenter, images_N3HW: Tensor, indices_N: Tensor) -> list[Tensor]:
    return frozen.compute(model.features, images_N3HW)


@dataclass(frozen=True)
class Evaluation:
    loss: float
    """Mean over the images; not a number where no loss was asked for."""
    counts: Counts


def probabilities(logits_NKHW: Tensor) -> Tensor:
    """(N, classes, H, W): of a binary task's one logit, background and foreground."""
    if logits_NKHW.shape[1] > 1:
        return logits_NKHW.softmax(1)
    foreground = logits_NKHW.sigmoid()
    return torch.cat([1 - foreground, foreground], dim=1)


def predict_classes(logits_NKHW: Tensor) -> Tensor:
    """(N, H, W) int64 class indices: a binary task's threshold is probability 0.5."""
    return logits_NKHW.argmax(1) if logits_NKHW.shape[1] > 1 else (logits_NKHW[:, 0] > 0).long()


def batch_size(pixels: int, device: torch.device) -> int:
    """For images of so many pixels: a CPU gains nothing by more at a time, and its process keeps the memory."""
    return BATCH if device.type != "cpu" else max(1, min(BATCH, BATCH * SIDE**2 // pixels))


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    data: Pixels,
    experiment: Experiment,
    classes: int,
    ranks: Ranks,
    device: torch.device,
    loss: Callable[[Tensor, Tensor], Tensor] | None = None,
    microbatches: int = 1,
    on_step: Callable[[], None] = lambda: None,
    encode: Callable[[Tensor, Tensor], list[Tensor]] | None = None,
) -> Evaluation:
    """Loss and counts of `model` over `data`, in the order of `data.ids`, the same on every rank.

    Ranks share whole batches, so that each batch is computed exactly as one rank would compute it. The model sees a
    batch in `microbatches` parts, for less memory; `on_step` is called after each batch. `encode` gives a frozen
    encoder's features of normalised images, whose indices it is told too; see seg.features.
    """
    model.eval()
    if encode is None and experiment.encoder_freeze and isinstance(model, Segmenter) and model.separable:
        encode = partial(_compute, model)
    batch = batch_size(data.images_MHW3.shape[1] * data.images_MHW3.shape[2], device)
    indices = torch.arange(len(data)).split(batch)
    losses = torch.zeros(len(indices), dtype=torch.float64, device=device)
    hard = torch.zeros(len(data), classes, 4, dtype=torch.int64, device=device)
    soft = torch.zeros(len(data), classes, 3, dtype=torch.float64, device=device)
    confusion = torch.zeros(classes, classes, dtype=torch.int64, device=device)
    mine = range(ranks.rank, len(indices), ranks.world)
    for b, (images, masks) in zip(mine, data.in_turn([indices[b] for b in mine]), strict=True):
        images = normalise(images, experiment.normalize)
        with autocast(experiment.precision, device):
            pieces = zip(images.chunk(microbatches), indices[b].chunk(microbatches), strict=True)
            parts = [model(part, *([encode(part, each)] if encode else [])) for part, each in pieces]
        logits = parts[0] if len(parts) == 1 else torch.cat(parts)
        logits, target = logits.float(), masks.long()
        losses[b] = loss(logits, target) * len(images) if loss else torch.nan
        joint = metrics.confusion(predict_classes(logits), target, classes)
        confusion += joint.sum(0)
        there = slice(b * batch, b * batch + len(images))
        hard[there] = metrics.from_confusion(joint)
        soft[there] = metrics.count_soft(probabilities(logits), target)
        on_step()
    for part in (losses, hard, soft, confusion):
        ranks.sum(part)
    return Evaluation(float(losses.sum()) / len(data), Counts(hard.cpu(), soft.cpu(), confusion.cpu()))
