"""What every architecture offers."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from torch import Tensor, nn


class Segmenter(nn.Module):
    """Images (N, 3, H, W) to logits (N, K, H, W). What may be frozen and has pretrained weights is the encoder."""

    encoder: nn.Module
    decoder: nn.Module
    separable: bool = True
    """Whether `features` and `decode` are there."""
    multiple: ClassVar[int] = 1
    """Both sides of an image must be multiples of this, in pixels."""

    def forward(self, images_N3HW: Tensor, features: Sequence[Tensor] | None = None) -> Tensor:
        """Where the encoder's `features` of the images are given, it is not asked for them."""
        self.check_size(images_N3HW)
        return self.decode(images_N3HW, self.features(images_N3HW) if features is None else features)

    def features(self, images_N3HW: Tensor) -> list[Tensor]:
        """All that `decode` takes of the encoder, each (N, C, h, w)."""
        raise NotImplementedError

    def shallow(self, images_N3HW: Tensor) -> list[Tensor]:
        """The last of the features, as many as are sooner computed from the images than read: none, by default."""
        return []

    def decode(self, images_N3HW: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Logits (N, K, H, W)."""
        raise NotImplementedError

    def load_encoder(self, path: Path) -> None:
        """ImageNet weights into the encoder, from that file, which seg.weights may download."""
        raise NotImplementedError

    def check_size(self, images_N3HW: Tensor) -> None:
        """ValueError naming the sizes that can be taken."""
        height, width = images_N3HW.shape[-2:]
        if height % self.multiple or width % self.multiple:
            raise ValueError(f"image of {height}x{width}: both sides must be multiples of {self.multiple}")
