"""MobileNetV2 encoder and a plain decoder of five convolutions (the published system R0 / R1)."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from seg.models.mobilenetv2 import CHANNELS, MobileNetV2Segmenter

WIDTHS = (512, 256, 64, 32, 16)
DROPOUT = 0.2
"""The report has dropout but does not give its rate."""


class MobileNetV2Plain(MobileNetV2Segmenter):
    """No skip connection: the decoder sees only the deepest features. 7,251,041 decoder parameters (K = 1)."""

    def __init__(self, channels: int):
        super().__init__()
        widths = (CHANNELS[18], *WIDTHS)
        blocks = [_block(before, after) for before, after in pairwise(widths)]
        self.decoder = nn.Sequential(*blocks, nn.Conv2d(WIDTHS[-1], channels, kernel_size=1))

    def features(self, images_N3HW: Tensor) -> list[Tensor]:
        return [self.encoder(images_N3HW)]

    def decode(self, images_N3HW: Tensor, features: Sequence[Tensor]) -> Tensor:
        return self.decoder(*features)


def _block(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
        nn.Conv2d(before, after, kernel_size=3, padding=1),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
        nn.Dropout(DROPOUT),
    )
