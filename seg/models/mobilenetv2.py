"""The MobileNetV2 encoder that the published ISIC systems share (Sandler et al. 2018, arXiv:1801.04381)."""

from pathlib import Path

from torch import nn

from seg import weights
from seg.models.segmenter import Segmenter

CHANNELS = {0: 32, 1: 16, 3: 24, 4: 32, 7: 64, 11: 96, 14: 160, 17: 320, 18: 1280}
"""Channels after features[i]."""


def features() -> nn.Sequential:
    """torchvision's MobileNetV2 without its classifier: 2,223,872 parameters, random weights."""
    import torchvision  # here: it takes as long as torch itself to import, and only who builds a model needs it

    return torchvision.models.mobilenet_v2(weights=None).features


class MobileNetV2Segmenter(Segmenter):
    """An encoder of MobileNetV2 features; subclasses add `.decoder`."""

    encoder: nn.Sequential
    multiple = 32

    def __init__(self) -> None:
        super().__init__()
        self.encoder = features()

    def load_encoder(self, path: Path) -> None:
        weights.load(self.encoder, path, prefix="features.")
