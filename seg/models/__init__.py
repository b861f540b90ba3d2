"""Architectures: a file for each family, and a dict of builders.

A model has `.encoder` and `.decoder`. It maps images (N, 3, H, W) to logits (N, K, H, W); K = 1 for a binary task, else
the number of classes.

To add an architecture, write its file and name its class in MODELS.

torch is imported only when the first model is built or one of segmentation_models_pytorch is checked. What a search
asks about the others is known without it.
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
    """What is known about an architecture before it is built."""

    module: str
    class_name: str
    """The name of the Segmenter in the module; it is called with the number of channels of its logits."""
    multiple: int = 1
    """The number of pixels of which both sides of an image must be multiples."""
    smallest: int = 64
    """The shortest side of a training image, in pixels.

    BatchNorm of the deepest features needs more than one of their pixels.
    """
    weights_file: str | None = None
    """The file name of the encoder's ImageNet weights, see seg.models.weights; None if there are no such weights."""

    def segmenter(self) -> "Callable[..., Segmenter]":
        found: Callable[..., Segmenter] = getattr(importlib.import_module(self.module), self.class_name)
        return found


MODELS = {
    "mobilenetv2_plain": Architecture("seg.models.mobilenetv2", "MobileNetV2Plain", 32, weights_file=MOBILENET_V2),
    "mobilenetv2_skip": Architecture("seg.models.mobilenetv2", "MobileNetV2Skip", 32, weights_file=MOBILENET_V2),
    "deeplabv3_mobilenetv3": Architecture(
        "seg.models.deeplabv3", "DeepLabV3MobileNetV3", weights_file="mobilenet_v3_large.pth"
    ),
    "deeplabv3_resnet50": Architecture("seg.models.deeplabv3", "DeepLabV3ResNet50", weights_file="resnet50.pth"),
    "unet": Architecture("seg.models.unet", "UNet", multiple=8),
}
"""The architectures by name.

Those of segmentation_models_pytorch, `smp:<Architecture>:<encoder>`, are not listed here.
"""

SMP = Architecture("seg.models.smp", "Smp", multiple=32)
PREFIX = "smp:"
FORM = "smp:<Architecture>:<encoder>"


def check(name: str) -> None:
    """Raise ValueError if there is no such architecture or it is not installed."""
    if name.startswith(PREFIX):
        from seg.models import smp

        smp.check(name)
    elif name not in MODELS:
        raise ValueError(f"model: {name!r} is not known; choose from {', '.join(MODELS)} or {FORM}")


def family(name: str) -> Architecture:
    """Return what is known about the architecture; it is the same for all of segmentation_models_pytorch."""
    check(name)
    return SMP if name.startswith(PREFIX) else MODELS[name]


def pretrained(name: str) -> bool:
    """Whether there are ImageNet weights for the architecture's encoder."""
    return name.startswith(PREFIX) or family(name).weights_file is not None


def weights_file(name: str) -> str | None:
    """Return the file name of the encoder's ImageNet weights in a folder of weights; None if they do not exist."""
    return f"{name.split(':')[2]}.pth" if name.startswith(PREFIX) else family(name).weights_file


def takes(name: str, image_size: int) -> bool:
    """Whether square images of this side, in pixels, can train the architecture.

    Those of segmentation_models_pytorch are tried: some need larger images than most, or images of one size only.
    """
    of = family(name)
    by_rule = image_size >= of.smallest and image_size % of.multiple == 0
    if not by_rule or of is not SMP:
        return by_rule
    from seg.models import smp

    return smp.takes(name, image_size)


def build(name: str, classes: int, weights_dir: Path | None = None) -> "Segmenter":
    """Build the architecture `name` for `classes` classes, background included.

    With `weights_dir`, the encoder gets ImageNet weights from that folder; a missing file is downloaded into it.
    Without `weights_dir`, or if the architecture has no such weights (see `pretrained`), every weight is random.
    Raises ValueError for an unknown name or fewer than two classes. Raises seg.models.weights.WeightsError if the
    weights cannot be loaded.
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
    """Return the number of parameters of the encoder, and of everything else."""
    encoder = sum(p.numel() for p in model.encoder.parameters())
    return encoder, sum(p.numel() for p in model.parameters()) - encoder
