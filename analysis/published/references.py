"""Other people's results on the same data, which a study should reach. Their configurations are not run here."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from study.store.records import Record


@dataclass(frozen=True)
class Reference:
    """A published score, and the column of ours that is measured the same way."""

    dataset: str
    name: str
    column: str
    value: float
    how: str
    """How and on what it was measured, as far as ours may differ."""
    test_images: int | None = None
    image_size: int | None = None


_WINNER = "measured by the challenge's own rules: each image at its own size, then the mean"
_SMP = "segmentation_models.pytorch's example, FPN with ResNet-34"
_VOC = "torchvision's reference, 21 VOC labels, pooled over val2017: not the classes and images of this study"

REFERENCES = (
    Reference("isic2016", "ISIC 2016 challenge, winner", "test_native_iou", 0.843, _WINNER, 379),
    Reference("isic2016", "later papers, the best", "test_native_iou", 0.87, "0.85 to 0.87, protocols vary", 379),
    Reference("pets_binary", "FPN-ResNet34, per image", "test_iou", 0.9075, _SMP, 3669, 256),
    Reference("pets_binary", "FPN-ResNet34, pooled", "test_iou_pooled", 0.9144, _SMP, 3669, 256),
    Reference("coco", "DeepLabV3 MobileNetV3-L, VOC labels", "test_iou", 0.603, _VOC),
    Reference("coco", "DeepLabV3 MobileNetV3-L, VOC labels", "test_pixel_accuracy", 0.912, _VOC),
    Reference("coco", "DeepLabV3 ResNet50, VOC labels", "test_iou", 0.664, _VOC),
    Reference("coco", "DeepLabV3 ResNet50, VOC labels", "test_pixel_accuracy", 0.924, _VOC),
)
"""Sources: Gutman et al. 2016, arXiv:1605.01397, for the challenge; otherwise the READMEs of the named projects."""


# Reasons why our score and a published one may differ, one short phrase each.

FROM_SCRATCH = frozenset({"unet"})
"""Architectures that were published without ImageNet weights."""


def of_baseline(info: dict[str, Any], baseline: dict[str, Any], record: Record | None) -> Iterator[str]:
    """Yield the reasons why a study could not repeat a published run exactly.

    `info`: its study.json. `record`: the trial of the published run, or None before there is one.
    """
    yield from of_data(info)
    if record is not None:
        yield from _of_run(record)
        yield from _unlike(baseline.get("protocol", {}), _numbers(info, record), info["dataset"]["remark"])
    yield from baseline.get("remarks", [])


def of_data(info: dict[str, Any]) -> Iterator[str]:
    if info["dataset"]["synthetic"]:
        yield "synthetic images"
    if info["dataset"]["remark"]:
        yield info["dataset"]["remark"]


def of_reference(info: dict[str, Any], reference: Reference) -> Iterator[str]:
    yield reference.how
    yield from of_data(info)
    stated = {"image_size": reference.image_size, "test_images": reference.test_images}
    ours = {"image_size": info["spec"]["image_size"], "test_images": info["dataset"]["images"]["test"]}
    yield from _unlike(stated, ours, info["dataset"]["remark"])


def _of_run(record: Record) -> Iterator[str]:
    if record.state != "COMPLETE":
        yield f"trial {record.trial} is {record.state}" + (f" ({record.reason})" if record.reason else "")
    weights, model = record.experiment.get("encoder_weights"), record.experiment.get("model")
    if weights == "none" and model not in FROM_SCRATCH:
        yield "encoder weights none instead of imagenet"
    if record.best_epoch:
        yield f"epoch {record.best_epoch} of {len(record.epochs)}, chosen on validation images"


def _numbers(info: dict[str, Any], record: Record) -> dict[str, Any]:
    """Return the numbers of our run that a publication may state for its own."""
    images = {f"{split}_images": count for split, count in info["dataset"]["images"].items()}
    epochs = len(record.epochs) if record.state == "COMPLETE" else record.experiment.get("epochs")
    return {**record.experiment, **images, "epochs": epochs, "classes": len(info["dataset"]["class_names"])}


def _unlike(stated: dict[str, Any], ours: dict[str, Any], said: str) -> Iterator[str]:
    """Yield a phrase for each number that is known on both sides and differs.

    A difference that `said` states already, such as "305 of 379" test images, is left out.
    """
    for name, theirs in stated.items():
        known = theirs is not None and ours.get(name) is not None
        if known and ours[name] != theirs and f"{ours[name]} of {theirs}" not in said:
            yield f"{name.replace('_', ' ')} {ours[name]} instead of {theirs}"
