"""Paired augmentation of a batch on its device: one random draw an image, applied to image and mask alike.

The draws of an epoch come from (seed, epoch) alone, one row an image of the epoch: which rank or batch
an image lands in changes nothing, and a resumed epoch draws the same.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from seg.pixels import unit


@dataclass(frozen=True)
class Augmentation:
    horizontal_flip: bool = False
    vertical_flip: bool = False
    rotation_degrees: float = 0.0
    """Uniform within ± this angle; what comes in from outside the image is its reflection."""


AUGMENTATIONS: dict[str, Augmentation] = {
    "none": Augmentation(),
    "flips": Augmentation(horizontal_flip=True, vertical_flip=True),
    "hflip_rotate": Augmentation(horizontal_flip=True, rotation_degrees=60.0),
    "flips_rotate": Augmentation(horizontal_flip=True, vertical_flip=True, rotation_degrees=60.0),
    "hflip_rotate15": Augmentation(horizontal_flip=True, rotation_degrees=15.0),
    "flips_rotate15": Augmentation(horizontal_flip=True, vertical_flip=True, rotation_degrees=15.0),
}

DRAWS = 3


def draw(images: int, generator: torch.Generator) -> Tensor:
    """(images, DRAWS) uniform numbers in [0, 1): horizontal flip, vertical flip, angle."""
    return torch.rand(images, DRAWS, generator=generator)


def variants(augmentation: Augmentation) -> int | None:
    """How many there are of an image; None where a draw seldom gives one twice."""
    if augmentation.rotation_degrees:
        return None
    return 2**augmentation.horizontal_flip * 2**augmentation.vertical_flip


def variant(augmentation: Augmentation, draws_ND: Tensor) -> Tensor:
    """(N,) int64, below `variants`: which of them the draws give."""
    found = torch.zeros(len(draws_ND), dtype=torch.int64, device=draws_ND.device)
    for flips, draw in ((augmentation.horizontal_flip, 0), (augmentation.vertical_flip, 1)):
        if flips:
            found = 2 * found + (draws_ND[:, draw] < 0.5)
    return found


def apply(
    augmentation: Augmentation, images_N3HW: Tensor, masks_NHW: Tensor, draws_ND: Tensor
) -> tuple[Tensor, Tensor]:
    """Augmented images and masks (uint8), of the shapes given. uint8 images remain so, or become floats in [0, 1] where
    pixels are blended."""
    images, masks = images_N3HW, masks_NHW
    if augmentation.horizontal_flip:
        images, masks = _flip(images, masks, draws_ND[:, 0] < 0.5, axis=-1)
    if augmentation.vertical_flip:
        images, masks = _flip(images, masks, draws_ND[:, 1] < 0.5, axis=-2)
    if augmentation.rotation_degrees:
        degrees = (2 * draws_ND[:, 2] - 1) * augmentation.rotation_degrees
        images, masks = _rotate(images, masks, degrees * (math.pi / 180))
    return images, masks


def _flip(images: Tensor, masks: Tensor, flipped_N: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    if images.device.type != "cpu":
        return (
            torch.where(flipped_N.view(-1, 1, 1, 1), images.flip(axis), images),
            torch.where(flipped_N.view(-1, 1, 1), masks.flip(axis), masks),
        )
    # The host knows which: the others need no work. Of images that are channels last in memory, whole pixels are moved.
    which = flipped_N.nonzero()[:, 0]
    source = torch.arange(len(images))
    source[which] = torch.arange(len(which)) + len(images)

    def turned(values: Tensor, axis: int) -> Tensor:
        """index_copy would take five times as long."""
        return torch.cat([values, values.index_select(0, which).flip(axis)]).index_select(0, source)

    return turned(images.permute(0, 2, 3, 1), axis - 1).permute(0, 3, 1, 2), turned(masks, axis)


def _rotate(images: Tensor, masks: Tensor, radians_N: Tensor) -> tuple[Tensor, Tensor]:
    """About the centre; images bilinear, masks nearest, so that a class index is never blended."""
    images = unit(images) if images.dtype == torch.uint8 else images
    height, width = images.shape[-2:]
    cos, sin, zero = radians_N.cos(), radians_N.sin(), torch.zeros_like(radians_N)
    # affine_grid works in [-1, 1] on both axes: the aspect ratio keeps a rotation from shearing.
    rows = torch.stack([cos, -sin * height / width, zero, sin * width / height, cos, zero], dim=1)
    grid = F.affine_grid(rows.view(-1, 2, 3), list(images.shape), align_corners=False).to(images.dtype)
    turned = F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    labels = masks.unsqueeze(1).to(images.dtype)
    labels = F.grid_sample(labels, grid, mode="nearest", padding_mode="reflection", align_corners=False)
    return turned, labels.squeeze(1).to(masks.dtype)
