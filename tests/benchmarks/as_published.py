"""Models word for word as their reports describe them, of PyTorch's own layers: what ours must equal, and what people
train today."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from seg.models.mobilenetv2 import MobileNetV2Skip
from seg.models.segmenter import Segmenter


class SkipDecoder(nn.Module):
    """R3's, with the parameters of `ours`, under the same names."""

    def __init__(self, ours: nn.Module):
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.ConvTranspose2d(up.in_channels, up.out_channels, up.kernel_size, up.stride, up.padding),
                nn.BatchNorm2d(up.out_channels),
                nn.ReLU(inplace=True),
                nn.Dropout2d(0.4),
            )
            for up, *_ in ours.blocks
        )
        channels = ours.head[0].out_channels
        self.head = nn.Sequential(nn.Conv2d(6, channels, kernel_size=1), nn.BatchNorm2d(channels))
        self.to(ours.head[0].weight).load_state_dict(ours.state_dict())

    def forward(self, deepest: Tensor, skips: Sequence[Tensor]) -> Tensor:
        x = deepest
        for block, skip in zip(self.blocks, skips, strict=True):
            x = torch.cat([block(x), skip], dim=1)
        logits: Tensor = self.head(x)
        return logits


def published(model: Segmenter) -> Segmenter:
    """The model, its decoder as published, where ours computes it in another way."""
    if isinstance(model, MobileNetV2Skip):
        model.decoder = SkipDecoder(model.decoder)  # type: ignore[assignment]
    return model
