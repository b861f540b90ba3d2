"""Evaluation on a split: the counts of a model, and those of predictions without training."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seg import metrics
from seg.batches import normalise
from seg.data.sample import IGNORED
from seg.device import features as frozen
from seg.device.pixels import Pixels
from seg.device.precision import autocast
from seg.experiment import Experiment
from seg.metrics import Counts
from seg.models.segmenter import Segmenter
from seg.pack import Pack
from seg.ranks import Ranks

BATCH = 64
"""The most images in one forward pass. On a CPU, images of more than SIDE² pixels reduce it in proportion."""
SIDE = 128

IMAGES_AT_ONCE = 256


def _compute(model: Segmenter, images_N3HW: Tensor, indices_N: Tensor) -> list[Tensor]:
    return frozen.compute(model.features, images_N3HW)


@dataclass(frozen=True)
class Evaluation:
    loss: float
    """The mean loss over the images; NaN if no loss was requested."""
    counts: Counts


def probabilities(logits_NKHW: Tensor) -> Tensor:
    """Return class probabilities (N, classes, H, W); a binary task's one logit gives background and foreground."""
    if logits_NKHW.shape[1] > 1:
        return logits_NKHW.softmax(1)
    foreground = logits_NKHW.sigmoid()
    return torch.cat([1 - foreground, foreground], dim=1)


def predict_classes(logits_NKHW: Tensor) -> Tensor:
    """Return class indices, (N, H, W) int64. The threshold of a binary task is probability 0.5."""
    return logits_NKHW.argmax(1) if logits_NKHW.shape[1] > 1 else (logits_NKHW[:, 0] > 0).long()


def batch_size(pixels: int, device: torch.device) -> int:
    """Return the number of images in a forward pass, for images of `pixels` pixels.

    On a CPU, larger batches of large images gain nothing, and the process keeps their memory.
    """
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
    """Return the loss and counts of `model` over `data`, in the order of `data.ids`, the same on every rank.

    Each batch is computed as a whole by one rank, exactly as a single rank would compute it. The model computes a
    batch in `microbatches` parts, to use less memory; `on_step` is called after each batch. `encode` returns a frozen
    encoder's features of normalised images, given the images and their indices; see seg.device.features.
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


class NativeCounts:
    """The counts of images that are added one at a time."""

    def __init__(self, classes: int):
        self._classes = classes
        self._confusion: list[Tensor] = []
        self._soft: list[Tensor] = []

    @torch.inference_mode()
    def add(self, probabilities_CHW: Tensor, mask_HW: np.ndarray) -> None:
        probability = probabilities_CHW.unsqueeze(0)
        target = torch.from_numpy(mask_HW.copy()).to(probability.device).unsqueeze(0).long()
        self._confusion.append(metrics.confusion(probability.argmax(1), target, self._classes).cpu())
        self._soft.append(metrics.count_soft(probability, target).cpu())

    @property
    def counts(self) -> Counts:
        """The counts of the images added so far, in their order."""
        confusion = torch.cat(self._confusion)
        return Counts(metrics.from_confusion(confusion), torch.cat(self._soft), confusion.sum(0))


@dataclass(frozen=True)
class Trivial:
    """A prediction that is the same mask for every image."""

    name: str
    """The name as it is used in a sentence: `every pixel background`."""
    mask_SS: np.ndarray
    """The mask: uint8 class indices, at the pack's size."""
    classes: int

    def probabilities(self, image_HW3: np.ndarray) -> Tensor:
        """Return the mask as class probabilities, (classes, H, W) float, 0 or 1, at the image's own size.

        A seg.predict.Predictor has the same method.
        """
        mask = torch.from_numpy(self.mask_SS)[None, None].float()
        sized = F.interpolate(mask, image_HW3.shape[:2], mode="nearest")[0, 0].long()
        return F.one_hot(sized, self.classes).permute(2, 0, 1).float()

    def counts(self, pack: Pack, split: str) -> Counts:
        """Return the counts over the images of a split, at the pack's size."""
        prediction = torch.from_numpy(self.mask_SS).long()
        certain = F.one_hot(prediction, self.classes).permute(2, 0, 1).float()
        confusion, soft = [], []
        for indices in np.array_split(pack.indices(split), max(len(pack.indices(split)) // IMAGES_AT_ONCE, 1)):
            target = torch.from_numpy(np.asarray(pack.masks_NHW[indices]))
            confusion.append(metrics.confusion(prediction.expand(target.shape), target, self.classes))
            soft.append(metrics.count_soft(certain.expand(len(target), -1, -1, -1), target))
        joint = torch.cat(confusion)
        return Counts(metrics.from_confusion(joint), torch.cat(soft), joint.sum(0))


def trivial_predictions(pack: Pack) -> list[Trivial]:
    """Return the three predictions that need no training.

    They are: every pixel background; every pixel the most frequent other class; and for each pixel the class that is
    most frequent there in the training masks. In a binary task the last is the mean training mask.
    """
    frequency = pack.class_frequencies
    foreground = 1 + int(np.argmax(frequency[1:]))
    size = pack.image_size, pack.image_size
    name = "foreground" if pack.classes == 2 else pack.class_names[foreground]
    mean = "the mean training mask" if pack.classes == 2 else "the most frequent class of each place"
    return [
        Trivial("every pixel background", np.zeros(size, np.uint8), pack.classes),
        Trivial(f"every pixel {name}", np.full(size, foreground, np.uint8), pack.classes),
        Trivial(mean, _most_frequent(pack), pack.classes),
    ]


def _most_frequent(pack: Pack) -> np.ndarray:
    """Return the most frequent class of each pixel in the training masks: (S, S) uint8.

    If classes are equally frequent, it is the last one, so foreground rather than background.
    """
    counts = np.zeros((pack.classes, pack.image_size, pack.image_size), np.int64)
    train = pack.indices("train")
    for indices in np.array_split(train, max(len(train) // IMAGES_AT_ONCE, 1)):
        masks = np.asarray(pack.masks_NHW[indices])
        for index in range(pack.classes):
            counts[index] += ((masks == index) & (masks != IGNORED)).sum(0)
    return np.asarray(pack.classes - 1 - counts[::-1].argmax(0), np.uint8)
