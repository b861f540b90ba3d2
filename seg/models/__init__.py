"""Architectures: one file each, a dict of builders. A model has `.encoder` and `.decoder` and maps
images (N, 3, H, W) to logits (N, K, H, W); K = 1 for a binary task, else the number of classes.

To add an architecture, write its file and name its class in MODELS.
"""

from pathlib import Path

from seg.models import smp
from seg.models.deeplabv3 import DeepLabV3MobileNetV3, DeepLabV3ResNet50
from seg.models.mobilenetv2_plain import MobileNetV2Plain
from seg.models.mobilenetv2_skip import MobileNetV2Skip
from seg.models.segmenter import Segmenter
from seg.models.unet import UNet

MODELS: dict[str, type[Segmenter]] = {
    "mobilenetv2_plain": MobileNetV2Plain,
    "mobilenetv2_skip": MobileNetV2Skip,
    "deeplabv3_mobilenetv3": DeepLabV3MobileNetV3,
    "deeplabv3_resnet50": DeepLabV3ResNet50,
    "unet": UNet,
}
"""By name. Those of segmentation_models_pytorch, `smp:<Architecture>:<encoder>`, are built beside them."""


def check(name: str) -> None:
    """ValueError where there is no such architecture, or it is not installed."""
    if name.startswith(smp.PREFIX):
        smp.check(name)
    elif name not in MODELS:
        raise ValueError(f"model: {name!r} is not known; choose from {', '.join(MODELS)} or {smp.FORM}")


def family(name: str) -> type[Segmenter]:
    """The class of the architecture: the sizes it takes, and whether its encoder has ImageNet weights."""
    check(name)
    return smp.Smp if name.startswith(smp.PREFIX) else MODELS[name]


def pretrained(name: str) -> bool:
    """Whether there are ImageNet weights for its encoder."""
    return name.startswith(smp.PREFIX) or family(name).weights_file is not None


def weights_file(name: str) -> str | None:
    """File name of the encoder's ImageNet weights in a folder of weights; None where there are none."""
    return f"{name.split(':')[2]}.pth" if name.startswith(smp.PREFIX) else family(name).weights_file


def takes(name: str, image_size: int) -> bool:
    """Whether square images of this side, in pixels, can train the architecture.

    Those of segmentation_models_pytorch are tried: some want larger images than most, or of one size only.
    """
    of = family(name)
    by_rule = image_size >= of.smallest and image_size % of.multiple == 0
    return by_rule and (not issubclass(of, smp.Smp) or smp.takes(name, image_size))


def build(name: str, classes: int, weights_dir: Path | None = None) -> Segmenter:
    """The architecture `name` for `classes` classes, background included.

    With `weights_dir`, the encoder carries ImageNet weights from that folder, downloaded into it where they are
    missing; without, or where the architecture has none (see `pretrained`), every weight is random.
    ValueError for an unknown name or fewer than two classes; seg.weights.WeightsError where the weights cannot be had.
    """
    check(name)
    if classes < 2:
        raise ValueError(f"classes: {classes} given, but background and one more make at least 2")
    channels = 1 if classes == 2 else classes
    model = smp.Smp(name, channels) if name.startswith(smp.PREFIX) else MODELS[name](channels)
    if weights_dir is not None and pretrained(name):
        model.load_encoder(Path(weights_dir))
    return model


def parameter_counts(model: Segmenter) -> tuple[int, int]:
    """Parameters of the encoder, and of all the rest."""
    encoder = sum(p.numel() for p in model.encoder.parameters())
    return encoder, sum(p.numel() for p in model.parameters()) - encoder
