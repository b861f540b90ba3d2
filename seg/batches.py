"""The plan of an epoch, made before it starts, and the normalisation of pixels for the model."""

import functools
import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from seg import augment
from seg.augment import unit
from seg.device.features import Slots

AREA_EDGES = (0.0, 0.01, 0.03, 0.1, 0.3)
"""The edges of a binary task's bins of foreground area, as shares of an image's pixels.

The bins are: no foreground, up to 1 %, 3 %, 10 %, 30 %, and more.
"""


def weights(class_pixels_NC: Tensor, power: float) -> Tensor:
    """Return each training image's expected number of occurrences in an epoch: (N,) float64, mean 1.

    Oversampling draws images with rare content more often; the length of an epoch stays the same. The weight of an
    image is proportional to share^-power. In a multi-class task, share is that of the training images that have the
    image's rarest class. In a binary task, it is that of the training images in the image's bin of foreground area.

    At power 0 every image is drawn once. At power 1 a class in 1 % of the images is drawn as often as one in all of
    them, as far as images with both classes allow. Repeat factor sampling (Gupta et al. 2019, LVIS, arXiv:1908.03195)
    is power 1/2 for classes below a threshold.

    `class_pixels_NC` has the pixels of each class in each image, without ignored pixels.
    """
    rarest = _rarest_area(class_pixels_NC) if class_pixels_NC.shape[1] == 2 else _rarest_class(class_pixels_NC)
    raw = rarest**-power
    return raw / raw.mean()


def _rarest_class(class_pixels_NC: Tensor) -> Tensor:
    """Return, for each image, the share of the images that have its rarest class: (N,); 1 if all pixels are ignored."""
    holds = class_pixels_NC > 0
    return torch.where(holds, holds.double().mean(0), 1.0).amin(1)


def _rarest_area(class_pixels_NC: Tensor) -> Tensor:
    """Return, for each image, the share of the images that are in its bin of foreground area: (N,)."""
    area = class_pixels_NC[:, 1] / class_pixels_NC.sum(1).clamp(min=1)
    bins = torch.bucketize(area, torch.tensor(AREA_EDGES, dtype=area.dtype))
    return (torch.bincount(bins).double() / len(bins))[bins]


def draw(weights_N: Tensor, offset: float) -> Tensor:
    """Return the indices of an epoch's images: (N,) int64, ascending, each floor or ceil of its weight times.

    This is systematic resampling (Kitagawa 1996): N equally spaced points on the cumulative weights, the first at
    `offset` in [0, 1). Independent draws would omit a third of equally weighted images; this omits none of them.
    """
    points = torch.arange(len(weights_N), dtype=torch.float64) + offset
    ends = weights_N.cumsum(0) * (len(weights_N) / weights_N.sum())
    return torch.searchsorted(ends, points, right=True).clamp(max=len(weights_N) - 1)


def report(class_pixels_NC: Tensor, weights_N: Tensor) -> dict[str, list[float]]:
    """Return each class's share of the training images and of their pixels.

    The lists whose names begin with `sampled_` have the shares that are expected in an epoch.
    """
    image_share, pixel_share = shares(class_pixels_NC, torch.ones_like(weights_N))
    sampled_image_share, sampled_pixel_share = shares(class_pixels_NC, weights_N)
    return {
        "image_share": image_share,
        "pixel_share": pixel_share,
        "sampled_image_share": sampled_image_share,
        "sampled_pixel_share": sampled_pixel_share,
    }


def shares(class_pixels_NC: Tensor, weights_N: Tensor) -> tuple[list[float], list[float]]:
    """Return, for each class, the weighted share of the images that have it, and its weighted share of all pixels."""
    images = ((class_pixels_NC > 0) * weights_N.unsqueeze(1)).sum(0) / weights_N.sum()
    pixels = (class_pixels_NC * weights_N.unsqueeze(1)).sum(0)
    return images.tolist(), (pixels / pixels.sum().clamp(min=1)).tolist()


IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalise(images_N3HW: Tensor, normalize: str) -> Tensor:
    """Return uint8 pixels, or floats in [0, 1], normalised for the model; see Experiment.normalize."""
    whole = images_N3HW.dtype == torch.uint8
    images = unit(images_N3HW) if whole else images_N3HW
    if normalize == "unit":
        return images
    # Normalise whole lines: the channels are adjacent in memory, and a CPU takes ten times as long over three values.
    lines = images.permute(0, 2, 3, 1).flatten(2)
    mean, std = _imagenet(images.device, images.dtype, images.shape[-1])
    normalised = lines.sub_(mean).div_(std) if whole else (lines - mean) / std
    return normalised.unflatten(2, (-1, 3)).permute(0, 3, 1, 2)


@functools.cache
def _imagenet(device: torch.device, dtype: torch.dtype, width: int) -> tuple[Tensor, Tensor]:
    """Return the mean and deviation of a line's values, (3 · width,), on the device.

    They are cached, because each copy to the device makes the host wait.
    """
    with torch.inference_mode(False):  # training uses them too, even if an evaluation was the first to ask
        mean, std = (torch.tensor(values, dtype=dtype) for values in (IMAGENET_MEAN, IMAGENET_STD))
        return mean.repeat(width).to(device), std.repeat(width).to(device)


def seed_of(*parts: int | str) -> int:
    """Return a 63-bit seed that depends on every part."""
    digest = hashlib.blake2b(":".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


@dataclass(frozen=True)
class Batch:
    """One rank's share of the images of one optimiser step."""

    positions: Tensor
    """The position of each image in the epoch. Positions are unique, even if oversampling repeats an image."""
    indices: Tensor
    """The indices of the images, on the CPU."""
    draws_ND: Tensor
    share: float
    """The factor on the local mean loss: images here · ranks / images of the whole step.

    DDP averages gradients over ranks; with this factor, that average is the mean over images.
    """
    fewest: int
    """The number of images on the rank that has the fewest."""


@dataclass(frozen=True)
class Plan:
    """The images of an epoch, their order, and their random draws, all decided before it starts."""

    order: Tensor
    """The indices of the images in their order, on the CPU, from which the pixels are requested."""
    draws_ND: Tensor
    host_draws_ND: Tensor
    """A copy of the draws on the CPU, so that reading them does not wait for the device."""
    batch_size: int
    rank: int
    world: int

    @property
    def steps(self) -> int:
        """The number of optimiser steps. A last batch with fewer images than ranks is left out."""
        full, rest = divmod(len(self.order), self.batch_size)
        return max(full + (rest >= self.world), 1)

    @property
    def seen(self) -> int:
        """The number of images in all steps together."""
        return min(self.steps * self.batch_size, len(self.order))

    def batch(self, step: int) -> Batch:
        mine, draws = self._mine(self.order, step), self._mine(self.draws_ND, step)
        first = step * self.batch_size
        whole = min(self.batch_size, len(self.order) - first)
        positions = torch.arange(first + self.rank, first + whole, self.world, device=draws.device)
        return Batch(positions, mine, draws, len(mine) * self.world / whole, fewest=whole // self.world)

    def indices(self) -> list[Tensor]:
        """Return the image indices of each step's batch, on the CPU."""
        return [self._mine(self.order, step) for step in range(self.steps)]

    def slots(self, step: int, slots: Slots) -> Tensor:
        """Return the slots in which the features of the batch's images are cached: (N,) int64, on the CPU."""
        return slots.of(self._mine(self.order, step), self._mine(self.host_draws_ND, step))

    def _mine(self, values: Tensor, step: int) -> Tensor:
        """Return this rank's share of the step's values."""
        return values[step * self.batch_size : (step + 1) * self.batch_size][self.rank :: self.world]


def plan_epoch(
    weights_N: Tensor, batch_size: int, seed: int, epoch: int, rank: int, world: int, device: torch.device
) -> Plan:
    """Return the plan of an epoch: as many images as in training, each about as often as its weight, shuffled.

    The weights have mean 1; if all are equal, every image is used once. The images and their order are the same for
    any number of ranks. Raises ValueError if a rank would have no image.
    """
    images = len(weights_N)
    if images < world:
        raise ValueError(f"{images} training images cannot be shared by {world} workers; use fewer workers")
    if batch_size < world:
        raise ValueError(f"batch_size: {batch_size} images cannot be shared by {world} workers; use fewer workers")
    generator = torch.Generator().manual_seed(seed_of(seed, "order", epoch))
    shuffled = torch.randperm(images, generator=generator)
    draws = augment.draw(images, generator)
    offset = float(torch.rand((), generator=generator))
    order = draw(weights_N, offset)[shuffled]
    return Plan(order, draws.to(device), draws, batch_size, rank, world)
