"""What every architecture has in common: its interface, and BatchNorm of a single value."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn


class Segmenter(nn.Module):
    """A model from images (N, 3, H, W) to logits (N, K, H, W).

    Its encoder is the part that may be frozen and has pretrained weights.
    """

    encoder: nn.Module
    decoder: nn.Module
    separable: bool = True
    """Whether the model has `features` and `decode`."""
    multiple: ClassVar[int] = 1
    """The number of pixels of which both sides of an image must be multiples."""

    def forward(self, images_N3HW: Tensor, features: Sequence[Tensor] | None = None) -> Tensor:
        """Return the logits. If the encoder's `features` of the images are given, the encoder does not run."""
        self.check_size(images_N3HW)
        return self.decode(images_N3HW, self.features(images_N3HW) if features is None else features)

    def features(self, images_N3HW: Tensor) -> list[Tensor]:
        """Return everything that `decode` takes from the encoder, each (N, C, h, w)."""
        raise NotImplementedError

    def shallow(self, images_N3HW: Tensor) -> list[Tensor]:
        """Return the trailing `features` that are faster to compute than to read; by default an empty list."""
        return []

    def decode(self, images_N3HW: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Return the logits (N, K, H, W)."""
        raise NotImplementedError

    def load_encoder(self, path: Path) -> None:
        """Load ImageNet weights into the encoder from that file, which seg.models.weights may download."""
        raise NotImplementedError

    def check_size(self, images_N3HW: Tensor) -> None:
        """Raise ValueError, which names the possible sizes, if the images do not have one of them."""
        height, width = images_N3HW.shape[-2:]
        if height % self.multiple or width % self.multiple:
            raise ValueError(f"image of {height}x{width}: both sides must be multiples of {self.multiple}")


class SingleBatchNorm2d(nn.BatchNorm2d):
    """A BatchNorm that normalises a single value per channel by the running statistics and leaves these unchanged."""

    def forward(self, input: Tensor) -> Tensor:
        if self.training and input.numel() == input.shape[1]:
            return F.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        return super().forward(input)


def allow_single_values(model: nn.Module) -> None:
    """Turn every BatchNorm of the model into a SingleBatchNorm2d in place: state and references stay valid."""
    for layer in model.modules():
        if type(layer) is nn.BatchNorm2d:
            layer.__class__ = SingleBatchNorm2d
