"""Architectures: one file each, a dict of builders. A model has `.encoder` and `.decoder` and maps
images (N, 3, H, W) to logits (N, K, H, W); K = 1 for a binary task, else the number of classes.

To add an architecture, write its file and name its class in MODELS.

torch is imported when the first model is built, or one of segmentation_models_pytorch checked: what a search asks of
the others is known without.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seg.models.segmenter import Segmenter

MOBILENET_V2 = "mobilenet_v2.pth"


@dataclass(frozen=True)
class Architecture:
    """What is known of one before it is built."""

    module: str
    class_name: str
    """Of the Segmenter in the module, called with the number of channels of its logits."""
    multiple: int = 1
    """Both sides of an image must be multiples of this, in pixels."""
    smallest: int = 64
    """Shortest side of a training image, in pixels: BatchNorm of the deepest features needs more than one of theirs."""
    weights_file: str | None = None
    """Of the encoder's ImageNet weights, see seg.weights; None where there are none."""

    def segmenter(self) -> "Callable[..., Segmenter]":
        found: Callable[..., Segmenter] = getattr(importlib.import_module(self.module), self.class_name)
        return found


MODELS = {
    "mobilenetv2_plain": Architecture(
        "seg.models.mobilenetv2_plain", "MobileNetV2Plain", 32, weights_file=MOBILENET_V2
    ),
    "mobilenetv2_skip": Architecture("seg.models.mobilenetv2_skip", "MobileNetV2Skip", 32, weights_file=MOBILENET_V2),
    "deeplabv3_mobilenetv3": Architecture(
        "seg.models.deeplabv3", "DeepLabV3MobileNetV3", weights_file="mobilenet_v3_large.pth"
    ),
    "deeplabv3_resnet50": Architecture("seg.models.deeplabv3", "DeepLabV3ResNet50", weights_file="resnet50.pth"),
    "unet": Architecture("seg.models.unet", "UNet", multiple=8),
}
"""By name. Those of segmentation_models_pytorch, `smp:<Architecture>:<encoder>`, are built beside them."""

SMP = Architecture("seg.models.smp", "Smp", multiple=32)
PREFIX = "smp:"
FORM = "smp:<Architecture>:<encoder>"


def check(name: str) -> None:
    """ValueError where there is no such architecture, or it is not installed."""
    if name.startswith(PREFIX):
        from seg.models import smp

        smp.check(name)
    elif name not in MODELS:
        raise ValueError(f"model: {name!r} is not known; choose from {', '.join(MODELS)} or {FORM}")


def family(name: str) -> Architecture:
    """What is known of the architecture; of all of segmentation_models_pytorch the same."""
    check(name)
    return SMP if name.startswith(PREFIX) else MODELS[name]


def pretrained(name: str) -> bool:
    """Whether there are ImageNet weights for its encoder."""
    return name.startswith(PREFIX) or family(name).weights_file is not None


def weights_file(name: str) -> str | None:
    """File name of the encoder's ImageNet weights in a folder of weights; None where there are none."""
    return f"{name.split(':')[2]}.pth" if name.startswith(PREFIX) else family(name).weights_file


def takes(name: str, image_size: int) -> bool:
    """Whether square images of this side, in pixels, can train the architecture.

    Those of segmentation_models_pytorch are tried: some want larger images than most, or of one size only.
    """
    of = family(name)
    by_rule = image_size >= of.smallest and image_size % of.multiple == 0
    if not by_rule or of is not SMP:
        return by_rule
    from seg.models import smp

    return smp.takes(name, image_size)


def build(name: str, classes: int, weights_dir: Path | None = None) -> "Segmenter":
    """The architecture `name` for `classes` classes, background included.

    With `weights_dir`, the encoder carries ImageNet weights from that folder, downloaded into it where they are
    missing; without, or where the architecture has none (see `pretrained`), every weight is random.
    ValueError for an unknown name or fewer than two classes; seg.weights.WeightsError where the weights cannot be had.
    """
    of = family(name)
    if classes < 2:
        raise ValueError(f"classes: {classes} given, but background and one more make at least 2")
    channels = 1 if classes == 2 else classes
    model = of.segmenter()(name, channels) if of is SMP else of.segmenter()(channels)
    if weights_dir is not None and (file := weights_file(name)):
        model.load_encoder(Path(weights_dir) / file)
    return model


def parameter_counts(model: "Segmenter") -> tuple[int, int]:
    """Parameters of the encoder, and of all the rest."""
    encoder = sum(p.numel() for p in model.encoder.parameters())
    return encoder, sum(p.numel() for p in model.parameters()) - encoder
