"""Losses on logits. Each is `loss(logits_NKHW, target_NHW, **parameters) -> scalar`.

A binary task has one logit channel (K = 1) and targets 0 / 1; a multi-class task has K = classes, and
the losses here then treat it as one against the rest on the one-hot target. Pixels whose target is 255
are ignored: they add neither loss nor gradient. Where no pixel is left, the loss is zero.

To add a loss, write its function and name it, with the defaults of its parameters, at the end.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from seg.data.sample import IGNORED


def bce(logits_NKHW: Tensor, target_NHW: Tensor) -> Tensor:
    """Binary cross-entropy, mean over the pixels and channels that count."""
    truth, counted = _one_hot(logits_NKHW, target_NHW)
    losses = F.binary_cross_entropy_with_logits(logits_NKHW, truth, reduction="none") * counted
    return losses.sum() / (counted.sum() * logits_NKHW.shape[1]).clamp(min=1)


def dice(logits_NKHW: Tensor, target_NHW: Tensor) -> Tensor:
    """Soft Dice loss (Milletari et al. 2016), 1 - (2 Σpt + 1) / (Σp + Σt + 1) of each image and channel, then the mean.

    The added 1 makes empty against empty a perfect score. An image with every pixel ignored adds zero.
    """
    truth, counted = _one_hot(logits_NKHW, target_NHW)
    probability = logits_NKHW.sigmoid() * counted
    axes = (-2, -1)
    overlap = (probability * truth).sum(axes)
    return (1 - (2 * overlap + 1) / (probability.sum(axes) + truth.sum(axes) + 1)).mean()


def dice_bce(logits_NKHW: Tensor, target_NHW: Tensor, dice_weight: float) -> Tensor:
    """dice_weight · Dice + BCE."""
    return dice_weight * dice(logits_NKHW, target_NHW) + bce(logits_NKHW, target_NHW)


def _one_hot(logits_NKHW: Tensor, target_NHW: Tensor) -> tuple[Tensor, Tensor]:
    """Truth (N, K, H, W) of 0 and 1, zero where ignored; and what counts (N, 1, H, W) of 0 and 1."""
    channels = logits_NKHW.shape[1]
    foreground = torch.arange(channels, device=target_NHW.device) if channels > 1 else target_NHW.new_ones(1)
    truth = target_NHW.unsqueeze(1) == foreground.view(1, -1, 1, 1)
    counted = (target_NHW != IGNORED).unsqueeze(1)
    return truth.to(logits_NKHW.dtype), counted.to(logits_NKHW.dtype)


LOSSES: dict[str, Callable[..., Tensor]] = {"bce": bce, "dice_bce": dice_bce}

DEFAULTS: dict[str, dict[str, float]] = {"bce": {}, "dice_bce": {"dice_weight": 1.0}}
"""Parameters of each loss, with the value used where none is given."""
