"""Every score that the published systems and the ISIC challenge used, as a function of stored counts.

R0 to R4 are the systems of study/specs/published. ISIC is Gutman et al. 2016 (arXiv:1605.01397) and Codella et al. 2018
(arXiv:1902.03368), as the challenge's own scorer `isic-challenge-scoring` computes them. SMP is the example of
segmentation_models.pytorch on Oxford-IIIT Pet. torchvision stands for its reference scripts for segmentation. R0/R1 do
not say how they measured. Their Dice is not the 2 IoU / (1 + IoU) of pooled counts, so it is taken to be per image.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from analysis.scores.ratios import (
    Array,
    Lowest,
    Mean,
    Pooled,
    Ratio,
    Score,
    Sums,
    accuracy,
    dice,
    full,
    iou,
    mean,
    present,
    sensitivity,
    soft_dice,
    soft_iou,
    specificity,
)

FAILED_BELOW = 0.65
"""The IoU below which an image counted as failed in ISIC 2018."""


@dataclass(frozen=True)
class Definition:
    name: str
    """The name as in seg.metrics.scores, if it has the score."""
    score: Score
    text: str
    used_by: str = ""
    """The systems that published it; empty if it is unpublished and only serves for comparison."""


def definitions(sums: Sums) -> Iterator[Definition]:
    """Yield the definitions for a task with as many classes as `sums` has.

    A single class has a definition only if it is in some image.
    """
    classes = range(sums.hard.shape[1])
    if len(classes) == 2:
        yield from BINARY
        return
    yield from MULTICLASS
    yield from (_iou_of(index) for index in classes if not np.isnan(iou(sums.pooled.of(index))))
    yield from (_accuracy_of(index) for index in classes if not np.isnan(sensitivity(sums.pooled.of(index))))


def _iou_of(index: int) -> Definition:
    text = f"TP / (TP + FP + FN) of class {index}, counts summed over all images."
    return Definition(f"iou_class{index}", Pooled(lambda s: iou(s.of(index))), text, "R2")


def _accuracy_of(index: int) -> Definition:
    text = f"TP / (TP + FN) of class {index}, counts summed over all images."
    return Definition(f"accuracy_class{index}", Pooled(lambda s: sensitivity(s.of(index))), text, "R2")


def _images(ratio: Ratio) -> Mean:
    """Return the mean over the images of the ratio of class 1; empty against empty is 1."""
    return Mean(lambda s: full(ratio(s.of(1))))


def _pooled(ratio: Ratio) -> Pooled:
    """Return the ratio of class 1, with counts summed over all images."""
    return Pooled(lambda s: full(ratio(s.of(1))))


def _macro(ratio: Ratio) -> Pooled:
    """Return the mean of the ratio over the classes, with counts summed over all images."""
    return Pooled(lambda s: full(mean(present(s, ratio(s)))))


def _macro_foreground(ratio: Ratio) -> Pooled:
    return Pooled(lambda s: full(mean(present(s.foreground, ratio(s.foreground)))))


def _of_each_image(ratio: Ratio, s: Sums) -> Array:
    """Return the mean over the classes in each image's truth or prediction: (images,).

    It is NaN if every pixel is ignored.
    """
    return mean(present(s, ratio(s)))


def _images_macro(ratio: Ratio) -> Mean:
    return Mean(lambda s: _of_each_image(ratio, s))


def _images_macro_foreground(ratio: Ratio) -> Mean:
    return Mean(lambda s: _of_each_image(ratio, s.foreground))


def _passed(s: Sums) -> Array:
    each = full(iou(s.of(1)))
    return np.where(each >= FAILED_BELOW, each, 0.0)


MICRO = Pooled(lambda s: full(sensitivity(s.micro)))
"""The trace of the confusion matrix over its sum: TP of all classes over TP and FN of all classes."""

_EACH = "of each image at threshold 0.5, then the mean; empty against empty is 1"
_SOFT = "of each image's probabilities, then the mean; R3 resized its masks bilinearly, ours are by majority"
_ALL = "of the foreground, counts summed over all images"
_BOTH = "the mean over both classes, background included, of the counts summed over all images"
_CLASSES = "the mean over the classes, background included, of the counts summed over all images"
_INSIDE = "the mean over the classes in each image's truth or prediction, then over the images"
_NO_BACKGROUND = "background left out, and images with nothing else"
_OTHERS = _CLASSES.replace("included", "left out")
_RIGHT = "Share of all pixels with the right class: trace over sum of the confusion matrix."

IMAGE_IOU = _images(iou)
"""The mean over the images of each image's IoU."""
BINARY = (
    Definition("iou", IMAGE_IOU, f"TP / (TP + FP + FN) {_EACH}.", "R0/R1, ISIC 2016 and 2017 (native), SMP"),
    Definition("dice", _images(dice), f"2 TP / (2 TP + FP + FN) {_EACH}.", "R0/R1, ISIC 2016 to 2018 (native)"),
    Definition("pixel_accuracy", MICRO, _RIGHT),
    Definition("accuracy_image", _images(accuracy), f"(TP + TN) / pixels {_EACH}.", "ISIC 2016 to 2018 (native)"),
    Definition("sensitivity", _images(sensitivity), f"TP / (TP + FN) {_EACH}.", "ISIC 2016 to 2018 (native)"),
    Definition("specificity", _images(specificity), f"TN / (TN + FP) {_EACH}.", "ISIC 2016 to 2018 (native)"),
    Definition(
        "iou_passed",
        Mean(_passed),
        f"IoU {_EACH}; an image below {FAILED_BELOW} counts as 0.",
        "ISIC 2018 (native)",
    ),
    Definition("iou_lowest", Lowest(lambda s: full(iou(s.of(1)))), "The IoU of the image with the lowest one.", "R4"),
    Definition("iou_pooled", _pooled(iou), f"TP / (TP + FP + FN) {_ALL}.", "SMP"),
    Definition("dice_pooled", _pooled(dice), f"2 TP / (2 TP + FP + FN) {_ALL}."),
    Definition("sensitivity_pooled", _pooled(sensitivity), f"TP / (TP + FN) {_ALL}."),
    Definition("specificity_pooled", _pooled(specificity), f"TN / (TN + FP) {_ALL}."),
    Definition("iou_macro", _macro(iou), f"IoU, {_BOTH}.", "R2 and R4, had they two classes"),
    Definition("dice_macro", _macro(dice), f"Dice, {_BOTH}.", "R2, had it two classes"),
    Definition("soft_iou", _images(soft_iou), f"Σpt / (Σp + Σt − Σpt) {_SOFT}.", "R3"),
    Definition("soft_dice", _images(soft_dice), f"2 Σpt / (Σp + Σt) {_SOFT}.", "R3"),
    Definition("soft_iou_pooled", _pooled(soft_iou), f"Σpt / (Σp + Σt − Σpt) {_ALL}."),
    Definition("soft_dice_pooled", _pooled(soft_dice), f"2 Σpt / (Σp + Σt) {_ALL}."),
)

MULTICLASS = (
    Definition("iou", _macro(iou), f"TP / (TP + FP + FN), {_CLASSES}.", "R2, R4, torchvision"),
    Definition("dice", _macro(dice), f"2 TP / (2 TP + FP + FN), {_CLASSES}.", "R2 (macro)"),
    Definition("pixel_accuracy", MICRO, _RIGHT, "R2, R4, torchvision"),
    Definition(
        "dice_micro",
        Pooled(lambda s: full(dice(s.micro))),
        "2 TP / (2 TP + FP + FN), counts summed over images and classes, background included: the pixel accuracy.",
        "R2 (micro)",
    ),
    Definition(
        "dice_micro_foreground",
        Pooled(lambda s: full(dice(s.foreground.micro))),
        "2 TP / (2 TP + FP + FN), counts summed over images and classes, background left out.",
    ),
    Definition("class_accuracy", _macro(sensitivity), f"TP / (TP + FN), {_CLASSES}.", "R2"),
    Definition("iou_foreground", _macro_foreground(iou), f"IoU, {_OTHERS}."),
    Definition("dice_foreground", _macro_foreground(dice), f"Dice, {_OTHERS}."),
    Definition("iou_image", _images_macro(iou), f"IoU, {_INSIDE}."),
    Definition("dice_image", _images_macro(dice), f"Dice, {_INSIDE}."),
    Definition("iou_image_foreground", _images_macro_foreground(iou), f"IoU, {_INSIDE}; {_NO_BACKGROUND}."),
    Definition("dice_image_foreground", _images_macro_foreground(dice), f"Dice, {_INSIDE}; {_NO_BACKGROUND}."),
    Definition(
        "iou_lowest",
        Lowest(lambda s: _of_each_image(iou, s)),
        "The lowest IoU of an image, the mean over the classes in its truth or prediction, background included.",
        "R4",
    ),
    Definition("soft_iou", _macro(soft_iou), f"Σpt / (Σp + Σt − Σpt), {_CLASSES}."),
    Definition("soft_dice", _macro(soft_dice), f"2 Σpt / (Σp + Σt), {_CLASSES}."),
    Definition("soft_iou_foreground", _macro_foreground(soft_iou), f"Soft IoU, {_OTHERS}."),
    Definition("soft_iou_image", _images_macro(soft_iou), f"Soft IoU, {_INSIDE}.", "R3, had it more classes"),
    Definition("soft_dice_image", _images_macro(soft_dice), f"Soft Dice, {_INSIDE}.", "R3, had it more classes"),
)
