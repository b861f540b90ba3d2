"""Architectures: one file each, a dict of builders. A model has `.encoder` and `.decoder` and maps
images (N, 3, H, W) to logits (N, K, H, W); K = 1 for a binary task, else the number of classes.

To add an architecture, write its file and name its class in MODELS.
"""

from collections.abc import Callable
from pathlib import Path

from seg.models.mobilenetv2_plain import MobileNetV2Plain
from seg.models.mobilenetv2_skip import MobileNetV2Skip
from seg.models.segmenter import Segmenter

MODELS: dict[str, Callable[..., Segmenter]] = {
    "mobilenetv2_plain": MobileNetV2Plain,
    "mobilenetv2_skip": MobileNetV2Skip,
}

WEIGHTS: dict[str, str] = {
    "mobilenetv2_plain": "mobilenet_v2.pth",
    "mobilenetv2_skip": "mobilenet_v2.pth",
}
"""File of each architecture's ImageNet encoder weights; see seg.weights."""


def build(name: str, classes: int, weights_dir: Path | None = None) -> Segmenter:
    """The architecture `name` for `classes` classes, background included.

    With `weights_dir`, the encoder carries ImageNet weights from that folder, downloaded into it where they are
    missing; without, every weight is random. ValueError for an unknown name or fewer than two classes;
    seg.weights.WeightsError where the weights cannot be had.
    """
    if name not in MODELS:
        raise ValueError(f"model: {name!r} is not known; choose from {', '.join(MODELS)}")
    if classes < 2:
        raise ValueError(f"classes: {classes} given, but background and one more make at least 2")
    model = MODELS[name](channels=1 if classes == 2 else classes)
    if weights_dir is not None:
        model.load_encoder(Path(weights_dir))
    return model


def parameter_counts(model: Segmenter) -> tuple[int, int]:
    """Parameters of the encoder, and of all the rest."""
    encoder = sum(p.numel() for p in model.encoder.parameters())
    return encoder, sum(p.numel() for p in model.parameters()) - encoder
