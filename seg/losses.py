"""Losses on logits. Each is `loss(logits_NKHW, target_NHW, **parameters) -> scalar`.

A binary task has one logit channel (K = 1) and targets 0 and 1; a multi-class task has K = classes. Pixels whose target
is 255 are ignored: they add neither loss nor gradient. If no pixel is left, the loss is zero.

With several ranks, each rank computes the loss of its own share of the batch, and DDP averages the gradients. Dice and
the cross-entropies without class weights are means over images or pixels. For them this equals the loss of the whole
batch (seg.batches.Batch.share); for the cross-entropies only if no pixel is ignored. For weighted_ce and focal_tversky,
whose sums are over the batch, it is nearly equal.

To add a loss, write its function, add it to LOSSES, and add its parameters to seg.options.
"""

from collections.abc import Callable, Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from seg.data.sample import IGNORED


def bce(logits_NKHW: Tensor, target_NHW: Tensor) -> Tensor:
    """Return the binary cross-entropy, averaged over channels and the pixels that count.

    Multi-class: each channel is one class against the rest.
    """
    truth, counted = _one_hot(logits_NKHW, target_NHW)
    losses = F.binary_cross_entropy_with_logits(logits_NKHW, truth, reduction="none") * counted
    return losses.sum() / (counted.sum() * logits_NKHW.shape[1]).clamp(min=1)


def dice(logits_NKHW: Tensor, target_NHW: Tensor) -> Tensor:
    """Return the soft Dice loss (Milletari et al. 2016): 1 - (2 Σpt + 1) / (Σp + Σt + 1).

    It is computed for each image and channel, then averaged. The added 1 makes empty against empty a perfect score.
    An image with every pixel ignored adds zero. Multi-class: one class against the rest, each with its own sigmoid.
    """
    truth, counted = _one_hot(logits_NKHW, target_NHW)
    probability = logits_NKHW.sigmoid() * counted
    axes = (-2, -1)
    overlap = (probability * truth).sum(axes)
    return (1 - (2 * overlap + 1) / (probability.sum(axes) + truth.sum(axes) + 1)).mean()


def dice_bce(logits_NKHW: Tensor, target_NHW: Tensor, dice_weight: float = 1.0) -> Tensor:
    """Return dice_weight · Dice + BCE."""
    return dice_weight * dice(logits_NKHW, target_NHW) + bce(logits_NKHW, target_NHW)


def ce(logits_NKHW: Tensor, target_NHW: Tensor) -> Tensor:
    """Return the softmax cross-entropy, averaged over the pixels that count; on a binary task it is `bce`."""
    return _pixel_ce(logits_NKHW, target_NHW).sum() / (target_NHW != IGNORED).sum().clamp(min=1)


def weighted_ce(
    logits_NKHW: Tensor, target_NHW: Tensor, power: float = 0.5, frequencies: Tensor | None = None
) -> Tensor:
    """Return the cross-entropy with a weight per class: Σ w·l / Σ w, as in torch's F.cross_entropy.

    `frequencies` (classes,): share of each class in the training pixels; None: in this batch. See `class_weights`.
    The default power takes the square root. With full inverse frequencies, a few pixels of a rare class would outvote
    all others.
    """
    classes = max(logits_NKHW.shape[1], 2)
    if frequencies is None:
        frequencies = _frequencies(target_NHW, classes)
    weights = class_weights(frequencies, power).to(logits_NKHW.dtype)
    counted = target_NHW != IGNORED
    pixel_weights = weights[torch.where(counted, target_NHW, 0)] * counted
    total = pixel_weights.sum()
    return (_pixel_ce(logits_NKHW, target_NHW) * pixel_weights).sum() / torch.where(total > 0, total, 1.0)


def class_weights(frequencies: Tensor, power: float) -> Tensor:
    """Return weights (classes,) proportional to frequency^-power, with mean 1 over the classes that occur.

    A class that never occurs would have an infinite weight: its weight is 1, and it is left out of the mean.
    """
    occurs = frequencies > 0
    raw = torch.where(occurs, frequencies, 1.0) ** -power
    mean = (raw * occurs).sum() / occurs.sum().clamp(min=1)
    return torch.where(occurs, raw / mean, 1.0)


def focal_tversky(logits_NKHW: Tensor, target_NHW: Tensor, alpha: float = 0.7, gamma: float = 4 / 3) -> Tensor:
    """Return the focal Tversky loss (Abraham & Khan 2018, arXiv:1810.07842, eq. 3 and 4).

    It is (1 - TI)^(1/gamma), averaged over classes. TI = (TP + 1) / (TP + alpha·FN + (1 - alpha)·FP + 1), from
    probabilities summed over the batch. Multi-class: the softmax of all classes, background included. Binary: the
    foreground alone. The added 1 makes empty against empty a perfect score.
    """
    truth, counted = _one_hot(logits_NKHW, target_NHW)
    binary = logits_NKHW.shape[1] == 1
    probability = (logits_NKHW.sigmoid() if binary else logits_NKHW.softmax(1)) * counted
    axes = (0, 2, 3)
    hits = (probability * truth).sum(axes)
    # Sum the errors directly: in float32 the difference of two large sums loses the last few wrong pixels.
    missed, false = ((1 - probability) * truth).sum(axes), (probability * (counted - truth)).sum(axes)
    wrong = alpha * missed + (1 - alpha) * false
    distance = wrong / (hits + wrong + 1)
    # x^(1/gamma) has an infinite slope at 0, which a perfect prediction reaches: 0 times that slope would be NaN.
    perfect = distance == 0
    return torch.where(perfect, 0.0, torch.where(perfect, 1.0, distance) ** (1 / gamma)).mean()


def _pixel_ce(logits_NKHW: Tensor, target_NHW: Tensor) -> Tensor:
    """Return the cross-entropy of each pixel, (N, H, W); zero if it is ignored."""
    if logits_NKHW.shape[1] > 1:
        return F.cross_entropy(logits_NKHW, target_NHW, ignore_index=IGNORED, reduction="none")
    truth, counted = _one_hot(logits_NKHW, target_NHW)
    return (F.binary_cross_entropy_with_logits(logits_NKHW, truth, reduction="none") * counted).squeeze(1)


def _frequencies(target_NHW: Tensor, classes: int) -> Tensor:
    """Return the share of each class in the pixels that count: (classes,)."""
    pixels = torch.stack([(target_NHW == c).sum() for c in range(classes)])
    return pixels / pixels.sum().clamp(min=1)


def _one_hot(logits_NKHW: Tensor, target_NHW: Tensor) -> tuple[Tensor, Tensor]:
    """Return the truth (N, K, H, W), zero at ignored pixels, and which pixels count (N, 1, H, W), both as 0 or 1."""
    channels = logits_NKHW.shape[1]
    foreground = torch.arange(channels, device=target_NHW.device) if channels > 1 else target_NHW.new_ones(1)
    truth = target_NHW.unsqueeze(1) == foreground.view(1, -1, 1, 1)
    counted = (target_NHW != IGNORED).unsqueeze(1)
    return truth.to(logits_NKHW.dtype), counted.to(logits_NKHW.dtype)


LOSSES: dict[str, Callable[..., Tensor]] = {
    "bce": bce,
    "dice_bce": dice_bce,
    "ce": ce,
    "weighted_ce": weighted_ce,
    "focal_tversky": focal_tversky,
}


def bind(name: str, parameters: Mapping[str, float], frequencies: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss `name` as a function of logits and target alone.

    `frequencies` (classes,): share of each class in the training pixels, on the device of the logits.
    """
    fixed = {"frequencies": frequencies} if name == "weighted_ce" else {}
    return partial(LOSSES[name], **parameters, **fixed)
