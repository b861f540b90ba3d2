"""Results of others on the same data that a study should reach; no configuration of theirs is run here."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reference:
    """One figure, and the column of ours that is measured as it was."""

    dataset: str
    name: str
    column: str
    value: float
    how: str
    """How it was measured, and on what, as far as ours may differ."""
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
"""The challenge: Gutman et al. 2016, arXiv:1605.01397. The rest: the READMEs of the projects named."""
