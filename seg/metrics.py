"""Integer counts of each image and class first; every ratio is computed from them, once.

Counts only ever add: over batches, over ranks. One rule for the empty mask: where prediction and truth are
both empty, a ratio is 1 (the ISIC rule); a multi-class mean leaves such a class out instead.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from seg.data.sample import IGNORED

TP, FP, FN, TN = range(4)


def count(prediction_NHW: Tensor, target_NHW: Tensor, classes: int) -> Tensor:
    """(N, classes, 4) int64: true positives, false positives, false negatives, true negatives of each image and class.

    Both arguments hold class indices; pixels whose target is 255 are in none of the four.
    """
    return from_confusion(confusion(prediction_NHW, target_NHW, classes))


def confusion(prediction_NHW: Tensor, target_NHW: Tensor, classes: int) -> Tensor:
    """(N, classes, classes) int64: pixels of each image by truth (rows) and prediction (columns), ignored ones left
    out."""
    # One joint histogram an image: cell (truth, prediction), ignored pixels in a spare last cell.
    cells = target_NHW.long() * classes + prediction_NHW.long()
    cells = torch.where(target_NHW != IGNORED, cells, classes * classes).flatten(1)
    joint = cells.new_zeros(len(cells), classes * classes + 1)
    joint.scatter_add_(1, cells, torch.ones_like(cells))  # torch.bincount would make the host wait for a GPU
    return joint[:, :-1].view(-1, classes, classes)


def from_confusion(confusion_NCC: Tensor) -> Tensor:
    """(N, classes, 4): TP, FP, FN, TN of each image and class."""
    hits = confusion_NCC.diagonal(dim1=1, dim2=2)
    predicted, true = confusion_NCC.sum(1), confusion_NCC.sum(2)
    everything = confusion_NCC.sum((1, 2)).unsqueeze(1)
    return torch.stack([hits, predicted - hits, true - hits, everything - predicted - true + hits], dim=-1)


def count_soft(probability_NCHW: Tensor, target_NHW: Tensor) -> Tensor:
    """(N, C, 3) float64: Σ p·t, Σ p and Σ t of each image and class, over the pixels that count."""
    classes = torch.arange(probability_NCHW.shape[1], device=target_NHW.device).view(1, -1, 1, 1)
    counted = (target_NHW != IGNORED).unsqueeze(1)
    truth = (target_NHW.unsqueeze(1) == classes) & counted
    probability = probability_NCHW * counted
    # Products with 0 and 1 are exact in any precision; only the sums need float64.
    parts = (probability * truth, probability, truth)
    return torch.stack([part.sum((-2, -1), dtype=torch.float64) for part in parts], dim=-1)


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """In float64; 1 where both are zero."""
    numerator, denominator = numerator.double(), denominator.double()
    return torch.where(denominator == 0, 1.0, numerator / denominator.clamp(min=torch.finfo(torch.float64).tiny))


def iou(counts: Tensor) -> Tensor:
    """TP / (TP + FP + FN) of (..., 4) counts, as (...) float64."""
    return _ratio(counts[..., TP], counts[..., TP] + counts[..., FP] + counts[..., FN])


def dice(counts: Tensor) -> Tensor:
    """2 TP / (2 TP + FP + FN) of (..., 4) counts, as (...) float64."""
    return _ratio(2 * counts[..., TP], 2 * counts[..., TP] + counts[..., FP] + counts[..., FN])


def sensitivity(counts: Tensor) -> Tensor:
    """TP / (TP + FN) of (..., 4) counts, as (...) float64."""
    return _ratio(counts[..., TP], counts[..., TP] + counts[..., FN])


def specificity(counts: Tensor) -> Tensor:
    """TN / (TN + FP) of (..., 4) counts, as (...) float64."""
    return _ratio(counts[..., TN], counts[..., TN] + counts[..., FP])


def soft_iou(soft: Tensor) -> Tensor:
    """Σpt / (Σp + Σt - Σpt) of (..., 3) sums, as (...) float64: unthresholded, as the published system R3 measured."""
    return _ratio(soft[..., 0], soft[..., 1] + soft[..., 2] - soft[..., 0])


def soft_dice(soft: Tensor) -> Tensor:
    """2 Σpt / (Σp + Σt) of (..., 3) sums, as (...) float64."""
    return _ratio(2 * soft[..., 0], soft[..., 1] + soft[..., 2])


@dataclass(frozen=True)
class Counts:
    """What a set of N images was counted as."""

    hard: Tensor
    """(N, classes, 4) int64: see `count`."""
    soft: Tensor
    """(N, classes, 3) float64: see `count_soft`."""
    confusion: Tensor | None = None
    """(classes, classes) int64: all images' pixels by truth and prediction. The counts above cannot tell which class
    a pixel was taken for. None where nobody asked."""


def scores(counts: Counts) -> dict[str, float]:
    """Every score by name. Binary tasks: of class 1, per image, then the mean, unless the name says pooled.
    Multi-class tasks: macro over classes of the pooled counts."""
    named = _binary_scores(counts) if counts.hard.shape[1] == 2 else _multiclass_scores(counts)
    return {name: float(value) for name, value in named.items()}


def image_iou(counts: Counts) -> Tensor:
    """(N,) float64: the IoU of each image. Binary: of class 1. Multi-class: the mean over the classes, background
    included, that are in the image's truth or prediction; 1 where every pixel is ignored."""
    each = iou(counts.hard)
    if counts.hard.shape[1] == 2:
        return each[:, 1]
    present = counts.hard[..., TP] + counts.hard[..., FP] + counts.hard[..., FN] > 0
    return torch.where(present.any(1), (each * present).sum(1) / present.sum(1).clamp(min=1), 1.0)


def _binary_scores(counts: Counts) -> dict[str, Tensor]:
    lesion, soft = counts.hard[:, 1], counts.soft[:, 1]
    pooled = lesion.sum(0)
    return {
        "iou": iou(lesion).mean(),
        "dice": dice(lesion).mean(),
        "pixel_accuracy": _ratio(pooled[TP] + pooled[TN], pooled.sum()),
        "iou_pooled": iou(pooled),
        "sensitivity": sensitivity(lesion).mean(),
        "specificity": specificity(lesion).mean(),
        "soft_iou": soft_iou(soft).mean(),
        "soft_dice": soft_dice(soft).mean(),
    }


def _multiclass_scores(counts: Counts) -> dict[str, Tensor]:
    pooled = counts.hard.sum(0)
    true = pooled[:, TP] + pooled[:, FN] > 0
    present = true | (pooled[:, FP] > 0)
    foreground = present.clone()
    foreground[0] = False
    named = {
        "iou": _mean(iou(pooled), present),
        "dice": _mean(dice(pooled), present),
        "pixel_accuracy": _ratio(pooled[:, TP].sum(), pooled[0].sum()),
        "class_accuracy": _mean(sensitivity(pooled), true),
        "iou_foreground": _mean(iou(pooled), foreground),
        "dice_foreground": _mean(dice(pooled), foreground),
        "soft_iou": _mean(soft_iou(counts.soft.sum(0)), present),
        "soft_dice": _mean(soft_dice(counts.soft.sum(0)), present),
    }
    named |= {f"iou_class{c}": value for c, value in enumerate(iou(pooled)) if present[c]}
    named |= {f"accuracy_class{c}": value for c, value in enumerate(sensitivity(pooled)) if true[c]}
    return named


def _mean(ratios: Tensor, which: Tensor) -> Tensor:
    """Over the classes that `which` marks; 1 where it marks none: empty against empty."""
    return ratios[which].mean() if which.any() else ratios.new_ones(())
