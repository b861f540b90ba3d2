"""MobileNetV2 encoder and a decoder of nine blocks with nine skip connections (the published system R3)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from seg.models.mobilenetv2 import CHANNELS, MobileNetV2Segmenter

DROPOUT = 0.4
IMAGE = -1

# Width and geometry (kernel, stride, padding) of each block, and the features[i] concatenated after it.
SAME = (3, 1, 1)
DOUBLE = (2, 2, 0)
POINT = (1, 1, 0)
BLOCKS = (
    (320, POINT, 17),
    (160, SAME, 14),
    (96, DOUBLE, 11),
    (64, SAME, 7),
    (32, DOUBLE, 4),
    (24, DOUBLE, 3),
    (16, DOUBLE, 1),
    (32, POINT, 0),
    (3, DOUBLE, IMAGE),
)


class SkipDecoder(nn.Module):
    """Every block: transposed convolution, BatchNorm, ReLU, Dropout2d; then its skip is concatenated."""

    def __init__(self, channels: int):
        super().__init__()
        before, blocks = CHANNELS[18], []
        for after, geometry, _ in BLOCKS:
            blocks.append(_block(before, after, *geometry))
            before = 2 * after
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Sequential(nn.Conv2d(before, channels, kernel_size=1), nn.BatchNorm2d(channels))

    def forward(self, deepest: Tensor, skips: Sequence[Tensor]) -> Tensor:
        x = deepest
        for block, skip in zip(self.blocks, skips, strict=True):
            x = torch.cat([block(x), skip], dim=1)
        return self.head(x)


class MobileNetV2Skip(MobileNetV2Segmenter):
    """3,818,186 parameters with K = 1: 2,223,872 in the encoder, 1,594,314 in the decoder, its head included."""

    def __init__(self, channels: int):
        super().__init__()
        self.decoder = SkipDecoder(channels)

    def features(self, images_N3HW: Tensor) -> list[Tensor]:
        """The deepest, then the skips that are not the image itself, in the decoder's order."""
        x, layers = images_N3HW, []
        for layer in self.encoder:
            x = layer(x)
            layers.append(x)
        return [x, *(layers[skip] for _, _, skip in BLOCKS if skip != IMAGE)]

    def shallow(self, images_N3HW: Tensor) -> list[Tensor]:
        """Three quarters of all values, for a fourteenth of the encoder's multiplications."""
        first = self.encoder[0](images_N3HW)
        return [self.encoder[1](first), first]

    def decode(self, images_N3HW: Tensor, features: Sequence[Tensor]) -> Tensor:
        deepest, *skips = features
        return self.decoder(deepest, [*skips, images_N3HW])


def _block(before: int, after: int, kernel: int, stride: int, padding: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(before, after, kernel, stride, padding),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
        nn.Dropout2d(DROPOUT),
    )
