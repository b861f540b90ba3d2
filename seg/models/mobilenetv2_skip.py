"""MobileNetV2 encoder and a decoder of nine blocks with nine skip connections (the published system R3)."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from seg.models.mobilenetv2 import CHANNELS, MobileNetV2Segmenter
from seg.models.up_convolution import UpConvolution

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
    """Every block: transposed convolution, BatchNorm, ReLU, Dropout2d; then its skip is concatenated.

    Computed as what that comes to, in two thirds of the time: no concatenation is made (seg.models.up_convolution), and
    the pixels of the last block and the head come to their places at the very end.
    """

    def __init__(self, channels: int):
        super().__init__()
        before, blocks = CHANNELS[18], []
        for after, geometry, _ in BLOCKS:
            blocks.append(Block(before, after, *geometry))
            before = 2 * after
        self.blocks = nn.ModuleList(blocks)
        self.head = nn.Sequential(nn.Conv2d(before, channels, kernel_size=1), nn.BatchNorm2d(channels))

    def forward(self, deepest: Tensor, skips: Sequence[Tensor]) -> Tensor:
        *inner, last = self.blocks
        *features, image = skips
        x, skip = deepest, None
        for block, following in zip(inner, features, strict=True):
            x, skip = block(x, skip), following
        return self._head(last(x, skip, patchwise=True), image)

    def _head(self, last_NC4hw: Tensor, image_N3HW: Tensor) -> Tensor:
        """Of the last block's output, the four pixels of a patch beside one another, (N, C, 4h, w): the kernels of
        channels-last images are slow with three channels, and the head looks at one pixel at a time."""
        convolution, norm = self.head
        assert isinstance(convolution, nn.Conv2d) and convolution.bias is not None
        images, channels, height, width = last_NC4hw.shape
        of_last, of_image = convolution.weight.flatten(1).split([channels, image_N3HW.shape[1]], dim=1)
        image = F.pixel_unshuffle(image_N3HW.contiguous(), 2).view(images, image_N3HW.shape[1], -1)
        mixed = _mix(of_last, last_NC4hw.flatten(2)) + _mix(of_image, image) + convolution.bias[:, None]
        logits = norm(mixed.view(images, -1, height, width))
        return F.pixel_shuffle(logits.reshape(images, -1, height // 4, width), 2)


class Block(nn.Sequential):
    def __init__(self, before: int, after: int, kernel: int, stride: int, padding: int):
        super().__init__(
            UpConvolution(before, after, kernel, stride, padding),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
            nn.Dropout2d(DROPOUT),
        )

    def forward(self, x: Tensor, skip: Tensor | None, patchwise: bool = False) -> Tensor:  # type: ignore[override]
        """(N, C, H, W), or, `patchwise`, the same numbers as (N, C, k²h, w): see UpConvolution.patches."""
        up, norm, relu, dropout = self
        assert isinstance(up, UpConvolution)
        if patchwise:
            patches_NPhw = up.patches(x, skip, by_channel=True).permute(0, 3, 1, 2)
            raised = patches_NPhw.reshape(len(x), up.out_channels, -1, x.shape[-1])
        else:
            raised = up(x, skip)
        return dropout(relu(norm(raised)))


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


def _mix(weight_KC: Tensor, pixels_NCP: Tensor) -> Tensor:
    """(N, K, P): a convolution of kernel 1."""
    return weight_KC.expand(len(pixels_NCP), -1, -1) @ pixels_NCP
