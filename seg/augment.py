"""Paired augmentation of a batch on its device: one random draw per image, applied to image and mask alike.

The draws of an epoch depend on (seed, epoch) alone; there is one row per image of the epoch. The rank or batch of an
image changes nothing, and a resumed epoch draws the same numbers.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from seg.options import Augmentation

GEOMETRIC, COLOURS = 4, 3
DRAWS = GEOMETRIC + COLOURS
GRAY = (0.2989, 0.587, 0.114)
"""The weights of red, green, and blue in gray: the luma of ITU-R BT.601, as in torchvision's transforms."""


def draw(images: int, generator: torch.Generator) -> Tensor:
    """Return (images, DRAWS) uniform numbers in [0, 1).

    The columns are horizontal flip, vertical flip, angle, zoom, brightness, contrast, and saturation.
    """
    first = torch.rand(images, 3, generator=generator)
    # The columns after the first three have their own generator, so that adding one leaves the first three unchanged.
    apart = torch.Generator().manual_seed(int(generator.initial_seed()) ^ 1)
    return torch.cat([first, torch.rand(images, DRAWS - 3, generator=apart)], dim=1)


def variants(augmentation: Augmentation) -> int | None:
    """Return the number of variants of an image, or None if draws seldom give the same variant twice."""
    if augmentation.rotation_degrees or augmentation.zoom != 1 or augmentation.colour:
        return None
    return 2**augmentation.horizontal_flip * 2**augmentation.vertical_flip


def variant(augmentation: Augmentation, draws_ND: Tensor) -> Tensor:
    """Return the index of the variant that each draw gives: (N,) int64, below `variants`."""
    found = torch.zeros(len(draws_ND), dtype=torch.int64, device=draws_ND.device)
    for flips, draw in ((augmentation.horizontal_flip, 0), (augmentation.vertical_flip, 1)):
        if flips:
            found = 2 * found + (draws_ND[:, draw] < 0.5)
    return found


def apply(
    augmentation: Augmentation, images_N3HW: Tensor, masks_NHW: Tensor, draws_ND: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the augmented images and masks, in the same shapes; masks are uint8.

    uint8 images stay uint8, except if pixels are blended: then they become floats in [0, 1].
    """
    images, masks = images_N3HW, masks_NHW
    if augmentation.horizontal_flip:
        images, masks = _flip(images, masks, draws_ND[:, 0] < 0.5, axis=-1)
    if augmentation.vertical_flip:
        images, masks = _flip(images, masks, draws_ND[:, 1] < 0.5, axis=-2)
    if augmentation.rotation_degrees or augmentation.zoom != 1:
        radians = (2 * draws_ND[:, 2] - 1) * math.radians(augmentation.rotation_degrees)
        images, masks = _turn(images, masks, radians, augmentation.zoom ** (2 * draws_ND[:, 3] - 1))
    if augmentation.colour:
        images = _colour(images, 1 + (2 * draws_ND[:, GEOMETRIC:] - 1) * augmentation.colour)
    return images, masks


def _flip(images: Tensor, masks: Tensor, flipped_N: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    if images.device.type != "cpu":
        return (
            torch.where(flipped_N.view(-1, 1, 1, 1), images.flip(axis), images),
            torch.where(flipped_N.view(-1, 1, 1), masks.flip(axis), masks),
        )
    # On a CPU only the flipped images are computed. Images are channels last in memory, so whole pixels are moved.
    which = flipped_N.nonzero()[:, 0]
    source = torch.arange(len(images))
    source[which] = torch.arange(len(which)) + len(images)

    def turned(values: Tensor, axis: int) -> Tensor:
        """Return `values` with the chosen images flipped. index_copy would take five times as long."""
        return torch.cat([values, values.index_select(0, which).flip(axis)]).index_select(0, source)

    return turned(images.permute(0, 2, 3, 1), axis - 1).permute(0, 3, 1, 2), turned(masks, axis)


def _turn(images: Tensor, masks: Tensor, radians_N: Tensor, zoom_N: Tensor) -> tuple[Tensor, Tensor]:
    """Rotate and zoom about the centre.

    Images are resampled bilinearly and masks by nearest neighbour, so that class indices are never blended.
    """
    images = _floats(images)
    grid = _grid(images.shape[-2], images.shape[-1], radians_N, zoom_N).to(images.dtype)
    turned = F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    labels = masks.unsqueeze(1).to(images.dtype)
    labels = F.grid_sample(labels, grid, mode="nearest", padding_mode="reflection", align_corners=False)
    return turned, labels.squeeze(1).to(masks.dtype)


def _grid(height: int, width: int, radians_N: Tensor, zoom_N: Tensor) -> Tensor:
    """Return the source position of each pixel for grid_sample: (N, height, width, 2).

    x and y are in [-1, 1], with the pixel centres inside (align_corners=False). affine_grid is not used, because it
    takes longer than the sampling.
    """
    x, y = (_centres(size, radians_N.device) for size in (width, height))
    cos, sin = ((of / zoom_N).view(-1, 1, 1) for of in (radians_N.cos(), radians_N.sin()))
    # Coordinates are square ([-1, 1] on both axes): without the aspect ratio a rotation would shear.
    across = cos * x - (sin * height / width) * y.view(-1, 1)
    down = (sin * width / height) * x + cos * y.view(-1, 1)
    return torch.stack([across, down], dim=-1)


def _centres(size: int, device: torch.device) -> Tensor:
    return (2 * torch.arange(size, device=device) + 1) / size - 1


def _colour(images: Tensor, factors_N3: Tensor) -> Tensor:
    """Change brightness, then contrast, then saturation, as torchvision's ColorJitter does; return floats in [0, 1].

    Contrast is relative to the image's mean gray, saturation to each pixel's gray.
    """
    images = _floats(images)
    brightness, contrast, saturation = factors_N3.to(images.dtype).view(-1, 3, 1, 1, 1).unbind(1)
    red, green, blue = images.unbind(1)
    gray = (GRAY[0] * red + GRAY[1] * green + GRAY[2] * blue).unsqueeze(1)
    # All three steps are linear, so they combine into one: s·k·b·x + (1-s)·k·b·gray + (1-k)·b·mean gray.
    scale = contrast * brightness
    shift = (1 - contrast) * brightness * gray.mean((2, 3), keepdim=True)
    return (saturation * scale * images + ((1 - saturation) * scale * gray + shift)).clamp_(0, 1)


def _floats(images: Tensor) -> Tensor:
    return unit(images) if images.dtype == torch.uint8 else images


def unit(images: Tensor) -> Tensor:
    """Return uint8 images as new floats in [0, 1]."""
    return images.float().div_(255)
