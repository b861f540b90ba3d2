"""U-Net (Ronneberger et al. 2015, arXiv:1505.04597) with the widths of the published system R4, from scratch."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from seg.models.segmenter import Segmenter

STAGES = (64, 128, 256)
BOTTLENECK = 256
UPWARDS = (128, 64, 64)


class Encoder(nn.Module):
    """The stages of two convolutions, each followed by 2x2 max-pooling; then the bottleneck."""

    def __init__(self) -> None:
        super().__init__()
        befores = (3, *STAGES[:-1])
        self.stages = nn.ModuleList(_two_convolutions(*widths) for widths in zip(befores, STAGES, strict=True))
        self.pool = nn.MaxPool2d(2)
        self.bottleneck = _two_convolutions(STAGES[-1], BOTTLENECK)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the deepest features, and those of each stage, widest first."""
        skips = []
        for stage in self.stages:
            skips.append(stage(x))
            x = self.pool(skips[-1])
        return self.bottleneck(x), skips


class Decoder(nn.Module):
    """The steps of nearest x2 upsampling, concatenation of the encoder's stage and two convolutions; then a 1x1 one."""

    def __init__(self, channels: int):
        super().__init__()
        befores = (BOTTLENECK, *UPWARDS[:-1])
        widths = zip(befores, reversed(STAGES), UPWARDS, strict=True)
        self.upsample = nn.Upsample(scale_factor=2, mode="nearest")
        self.steps = nn.ModuleList(_two_convolutions(before + skip, after) for before, skip, after in widths)
        self.head = nn.Conv2d(UPWARDS[-1], channels, kernel_size=1)

    def forward(self, deepest: Tensor, skips: list[Tensor]) -> Tensor:
        x = deepest
        for step, skip in zip(self.steps, reversed(skips), strict=True):
            x = step(torch.cat([self.upsample(x), skip], dim=1))
        return self.head(x)


class UNet(Segmenter):
    """A U-Net whose encoder is the downward path with the bottleneck; there are no pretrained weights for it."""

    multiple = 2 ** len(STAGES)

    def __init__(self, channels: int):
        super().__init__()
        self.encoder = Encoder()
        self.decoder = Decoder(channels)

    def features(self, images_N3HW: Tensor) -> list[Tensor]:
        deepest, skips = self.encoder(images_N3HW)
        return [deepest, *skips]

    def decode(self, images_N3HW: Tensor, features: Sequence[Tensor]) -> Tensor:
        deepest, *skips = features
        return self.decoder(deepest, skips)


def _two_convolutions(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(*_convolution(before, after), *_convolution(after, after))


def _convolution(before: int, after: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(before, after, kernel_size=3, padding=1), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
