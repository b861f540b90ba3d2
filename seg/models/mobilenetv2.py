"""The MobileNetV2 encoder (Sandler et al. 2018, arXiv:1801.04381) and the decoders of the published ISIC systems."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from seg.models import weights
from seg.models.segmenter import Segmenter

CHANNELS = {0: 32, 1: 16, 3: 24, 4: 32, 7: 64, 11: 96, 14: 160, 17: 320, 18: 1280}
"""The number of channels after features[i]."""

WIDTHS = (512, 256, 64, 32, 16)
PLAIN_DROPOUT = 0.2
"""The dropout rate; the report has dropout but does not give its rate."""
SKIP_DROPOUT = 0.4
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


def features() -> nn.Sequential:
    """Return torchvision's MobileNetV2 without its classifier: 2,223,872 parameters, random weights."""
    import torchvision  # imported late: it takes as long as torch, and only building a model needs it

    return torchvision.models.mobilenet_v2(weights=None).features


class MobileNetV2Segmenter(Segmenter):
    """A model with MobileNetV2 features as encoder; subclasses add `.decoder`."""

    encoder: nn.Sequential
    multiple = 32

    def __init__(self) -> None:
        super().__init__()
        self.encoder = features()

    def load_encoder(self, path: Path) -> None:
        weights.load(self.encoder, path, prefix="features.")


class MobileNetV2Plain(MobileNetV2Segmenter):
    """A model without skip connections: its decoder sees only the deepest features.

    The decoder has 7,251,041 parameters with K = 1.
    """

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
        nn.Dropout(PLAIN_DROPOUT),
    )


class UpConvolution(nn.ConvTranspose2d):
    """A transposed convolution of two inputs, computed without concatenating them.

    It is the sum of two transposed convolutions, each with its share of the weight. Nothing is copied. No gradient is
    computed for an input without one, such as a frozen encoder's features.

    If the patches that pixels are turned into do not overlap, it is a matrix product. Parameters and results are those
    of nn.ConvTranspose2d on torch.cat([x, skip], dim=1).
    """

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Return (N, C, H, W) for x (N, A, h, w); if A is less than the layer's input channels, `skip` has the rest."""
        if self.kernel_size == self.stride and self.padding == (0, 0):
            return self._in_place(self.patches(x, skip))
        of_x, of_skip = self.weight.tensor_split([x.shape[1]])
        raised = self._convolved(x, of_x, self.bias)
        return raised if skip is None else raised + self._convolved(skip, of_skip)

    def patches(self, x: Tensor, skip: Tensor | None = None, by_channel: bool = False) -> Tensor:
        """Return the patch that each pixel is turned into: (N, h, w, k²C).

        Its numbers are ordered row by row or, `by_channel`, channel by channel.
        """
        area = self.kernel_size[0] * self.kernel_size[1]
        weight_PA = self.weight.permute(*(1, 2, 3, 0) if by_channel else (2, 3, 1, 0)).reshape(-1, self.in_channels)
        of_x, of_skip = weight_PA.tensor_split([x.shape[1]], dim=1)
        assert self.bias is not None
        bias = self.bias.repeat_interleave(area) if by_channel else self.bias.repeat(area)
        made = F.linear(x.permute(0, 2, 3, 1), of_x, bias)
        return made if skip is None else made + F.linear(skip.permute(0, 2, 3, 1), of_skip)

    def _convolved(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        assert isinstance(self.padding, tuple)
        return F.conv_transpose2d(x, weight, bias, self.stride, self.padding)

    def _in_place(self, patches_NhwP: Tensor) -> Tensor:
        n, h, w, _ = patches_NhwP.shape
        (rows, columns), channels = self.kernel_size, self.out_channels
        lines = patches_NhwP.view(n, h, w, rows, columns * channels).transpose(2, 3)
        return lines.reshape(n, h * rows, w * columns, channels).permute(0, 3, 1, 2)


class SkipDecoder(nn.Module):
    """A decoder whose blocks are transposed convolution, BatchNorm, ReLU and Dropout2d, then a concatenated skip.

    The result is computed without concatenation (UpConvolution), in two thirds of the time. The pixels of the last
    block and the head are put in place at the very end.
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
        """Return the logits from the last block's output (N, C, 4h, w), which has a patch's four pixels side by side.

        The kernels for channels-last images are slow with three channels, and the head looks at one pixel at a time.
        """
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
            nn.Dropout2d(SKIP_DROPOUT),
        )

    def forward(self, x: Tensor, skip: Tensor | None, patchwise: bool = False) -> Tensor:  # type: ignore[override]
        """Return (N, C, H, W) or, `patchwise`, the same numbers as (N, C, k²h, w): see UpConvolution.patches."""
        up, norm, relu, dropout = self
        assert isinstance(up, UpConvolution)
        if patchwise:
            patches_NPhw = up.patches(x, skip, by_channel=True).permute(0, 3, 1, 2)
            raised = patches_NPhw.reshape(len(x), up.out_channels, -1, x.shape[-1])
        else:
            raised = up(x, skip)
        return dropout(relu(norm(raised)))


class MobileNetV2Skip(MobileNetV2Segmenter):
    """A model of 3,818,186 parameters with K = 1: 2,223,872 in the encoder, 1,594,314 in the decoder and its head."""

    def __init__(self, channels: int):
        super().__init__()
        self.decoder = SkipDecoder(channels)

    def features(self, images_N3HW: Tensor) -> list[Tensor]:
        """Return the deepest features, then the skips except the image itself, in the decoder's order."""
        x, layers = images_N3HW, []
        for layer in self.encoder:
            x = layer(x)
            layers.append(x)
        return [x, *(layers[skip] for _, _, skip in BLOCKS if skip != IMAGE)]

    def shallow(self, images_N3HW: Tensor) -> list[Tensor]:
        """Return the features of the first two layers.

        They are three quarters of all values, for a fourteenth of the encoder's multiplications.
        """
        first = self.encoder[0](images_N3HW)
        return [self.encoder[1](first), first]

    def decode(self, images_N3HW: Tensor, features: Sequence[Tensor]) -> Tensor:
        deepest, *skips = features
        return self.decoder(deepest, [*skips, images_N3HW])


def _mix(weight_KC: Tensor, pixels_NCP: Tensor) -> Tensor:
    """Return (N, K, P): a convolution with a kernel of size 1."""
    return weight_KC.expand(len(pixels_NCP), -1, -1) @ pixels_NCP
