"""The MobileNetV2 encoder that the published ISIC systems share (Sandler et al. 2018, arXiv:1801.04381)."""

from pathlib import Path

import torchvision
from torch import Tensor, nn

from seg import weights
from seg.models.segmenter import Segmenter

CHANNELS = {0: 32, 1: 16, 3: 24, 4: 32, 7: 64, 11: 96, 14: 160, 17: 320, 18: 1280}
"""Channels after features[i]."""

STRIDE = 32


def features() -> nn.Sequential:
    """torchvision's MobileNetV2 without its classifier: 2,223,872 parameters, random weights."""
    return torchvision.models.mobilenet_v2(weights=None).features


class MobileNetV2Segmenter(Segmenter):
    """An encoder of MobileNetV2 features; subclasses add `.decoder`."""

    encoder: nn.Sequential

    def __init__(self) -> None:
        super().__init__()
        self.encoder = features()

    def load_encoder(self, weights_dir: Path) -> None:
        weights.load(self.encoder, "mobilenet_v2.pth", weights_dir)


def check_size(images_N3HW: Tensor) -> None:
    height, width = images_N3HW.shape[-2:]
    if height % STRIDE or width % STRIDE:
        raise ValueError(f"image of {height}x{width}: both sides must be multiples of {STRIDE} for MobileNetV2")
