"""Counts of each image and class, and the scores that are computed from them.

Only counts are added over batches and ranks; each ratio is computed once, from the sums. There is one rule for the
empty mask: if prediction and truth are both empty, a ratio is 1 (the ISIC rule). A multi-class mean leaves such a class
out instead.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from seg.data.sample import IGNORED

TP, FP, FN, TN = range(4)


def count(prediction_NHW: Tensor, target_NHW: Tensor, classes: int) -> Tensor:
    """Return TP, FP, FN, and TN of each image and class: (N, classes, 4) int64.

    They are true positives, false positives, false negatives, and true negatives. Both arguments have class indices;
    pixels whose target is 255 are in none of the four.
    """
    return from_confusion(confusion(prediction_NHW, target_NHW, classes))


def confusion(prediction_NHW: Tensor, target_NHW: Tensor, classes: int) -> Tensor:
    """Return the confusion matrix of each image, without ignored pixels: (N, classes, classes) int64.

    Rows are the truth, columns the prediction.
    """
    # One joint histogram per image: cell (truth, prediction), with ignored pixels in a spare last cell.
    cells = target_NHW.long() * classes + prediction_NHW.long()
    cells = torch.where(target_NHW != IGNORED, cells, classes * classes).flatten(1)
    joint = cells.new_zeros(len(cells), classes * classes + 1)
    joint.scatter_add_(1, cells, torch.ones_like(cells))  # torch.bincount would make the host wait for a GPU
    return joint[:, :-1].view(-1, classes, classes)


def from_confusion(confusion_NCC: Tensor) -> Tensor:
    """Return TP, FP, FN, and TN of each image and class: (N, classes, 4)."""
    hits = confusion_NCC.diagonal(dim1=1, dim2=2)
    predicted, true = confusion_NCC.sum(1), confusion_NCC.sum(2)
    everything = confusion_NCC.sum((1, 2)).unsqueeze(1)
    return torch.stack([hits, predicted - hits, true - hits, everything - predicted - true + hits], dim=-1)


def count_soft(probability_NCHW: Tensor, target_NHW: Tensor) -> Tensor:
    """Return Σ p·t, Σ p, and Σ t of each image and class, over the pixels that count: (N, C, 3) float64."""
    classes = torch.arange(probability_NCHW.shape[1], device=target_NHW.device).view(1, -1, 1, 1)
    counted = (target_NHW != IGNORED).unsqueeze(1)
    truth = (target_NHW.unsqueeze(1) == classes) & counted
    probability = probability_NCHW * counted
    # Products with 0 and 1 are exact in any precision; only the sums need float64.
    parts = (probability * truth, probability, truth)
    return torch.stack([part.sum((-2, -1), dtype=torch.float64) for part in parts], dim=-1)


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Return the ratio in float64, or 1 if both are zero."""
    numerator, denominator = numerator.double(), denominator.double()
    return torch.where(denominator == 0, 1.0, numerator / denominator.clamp(min=torch.finfo(torch.float64).tiny))


def iou(counts: Tensor) -> Tensor:
    """Return TP / (TP + FP + FN) of (..., 4) counts, as (...) float64."""
    return _ratio(counts[..., TP], counts[..., TP] + counts[..., FP] + counts[..., FN])


def dice(counts: Tensor) -> Tensor:
    """Return 2 TP / (2 TP + FP + FN) of (..., 4) counts, as (...) float64."""
    return _ratio(2 * counts[..., TP], 2 * counts[..., TP] + counts[..., FP] + counts[..., FN])


def sensitivity(counts: Tensor) -> Tensor:
    """Return TP / (TP + FN) of (..., 4) counts, as (...) float64."""
    return _ratio(counts[..., TP], counts[..., TP] + counts[..., FN])


def specificity(counts: Tensor) -> Tensor:
    """Return TN / (TN + FP) of (..., 4) counts, as (...) float64."""
    return _ratio(counts[..., TN], counts[..., TN] + counts[..., FP])


def soft_iou(soft: Tensor) -> Tensor:
    """Return Σpt / (Σp + Σt - Σpt) of (..., 3) sums, as (...) float64.

    It has no threshold, like the measure of the published system R3.
    """
    return _ratio(soft[..., 0], soft[..., 1] + soft[..., 2] - soft[..., 0])


def soft_dice(soft: Tensor) -> Tensor:
    """Return 2 Σpt / (Σp + Σt) of (..., 3) sums, as (...) float64."""
    return _ratio(2 * soft[..., 0], soft[..., 1] + soft[..., 2])


@dataclass(frozen=True)
class Counts:
    """The counts of a set of N images."""

    hard: Tensor
    """The counts of pixels, (N, classes, 4) int64; see `count`."""
    soft: Tensor
    """The sums of probabilities, (N, classes, 3) float64; see `count_soft`."""
    confusion: Tensor | None = None
    """The confusion matrix over all images, (classes, classes) int64; None if it was not requested.

    The counts above do not tell which class a wrong pixel was predicted as.
    """


def scores(counts: Counts) -> dict[str, float]:
    """Return every score by name.

    Binary tasks: the mean over images of the score of class 1, unless the name says pooled. Multi-class tasks: the
    mean over classes of the score of the pooled counts. `pixel_accuracy` is the share of all pixels in both.
    """
    named = _binary_scores(counts) if counts.hard.shape[1] == 2 else _multiclass_scores(counts)
    return {name: float(value) for name, value in named.items()}


def image_iou(counts: Counts) -> Tensor:
    """Return the IoU of each image: (N,) float64.

    Binary: the IoU of class 1. Multi-class: the mean over the classes, background included, that are in the image's
    truth or prediction; 1 if every pixel is ignored.
    """
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
    """Return the mean over the classes that `which` marks, or 1 if it marks no class: empty against empty."""
    return ratios[which].mean() if which.any() else ratios.new_ones(())
