"""What an epoch consists of, decided before it starts; and pixels as the model takes them."""

import functools
import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from seg import augment, oversample
from seg.features import Slots
from seg.pixels import unit

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalise(images_N3HW: Tensor, normalize: str) -> Tensor:
    """uint8 pixels, or floats in [0, 1], as the model takes them; see Experiment.normalize."""
    whole = images_N3HW.dtype == torch.uint8
    images = unit(images_N3HW) if whole else images_N3HW
    if normalize == "unit":
        return images
    # Line by line: over three channels alone, which are neighbours in memory, a CPU takes ten times as long.
    lines = images.permute(0, 2, 3, 1).flatten(2)
    mean, std = _imagenet(images.device, images.dtype, images.shape[-1])
    normalised = lines.sub_(mean).div_(std) if whole else (lines - mean) / std
    return normalised.unflatten(2, (-1, 3)).permute(0, 3, 1, 2)


@functools.cache
def _imagenet(device: torch.device, dtype: torch.dtype, width: int) -> tuple[Tensor, Tensor]:
    """Mean and deviation of a line's values (3 · width,), copied to a device once: every copy makes the host wait."""
    with torch.inference_mode(False):  # training uses them too, whoever came first
        mean, std = (torch.tensor(values, dtype=dtype) for values in (IMAGENET_MEAN, IMAGENET_STD))
        return mean.repeat(width).to(device), std.repeat(width).to(device)


def seed_of(*parts: int | str) -> int:
    """A 63-bit seed that depends on every part."""
    digest = hashlib.blake2b(":".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


@dataclass(frozen=True)
class Batch:
    """One rank's share of one optimiser step."""

    positions: Tensor
    """Where in the epoch each image stands: no two alike, where oversampling may have an image come up twice."""
    indices: Tensor
    """Which images, on the CPU."""
    draws_ND: Tensor
    share: float
    """Images here · ranks / images of the whole step: what the local mean loss is scaled by, so that
    the mean over ranks, which is what DDP takes of gradients, is the mean over images."""
    fewest: int
    """Images of the rank that has the fewest."""


@dataclass(frozen=True)
class Plan:
    """An epoch, decided before it starts: which images, in which order, with which random draws."""

    order: Tensor
    """On the CPU, whence the pixels are asked for."""
    draws_ND: Tensor
    host_draws_ND: Tensor
    """Once more, on the CPU: to look into them there makes nobody wait for the device."""
    batch_size: int
    rank: int
    world: int

    @property
    def steps(self) -> int:
        """The last batch may be short, but not so short that a rank has nothing to do."""
        full, rest = divmod(len(self.order), self.batch_size)
        return max(full + (rest >= self.world), 1)

    @property
    def seen(self) -> int:
        """Images in all steps."""
        return min(self.steps * self.batch_size, len(self.order))

    def batch(self, step: int) -> Batch:
        mine, draws = self._mine(self.order, step), self._mine(self.draws_ND, step)
        first = step * self.batch_size
        whole = min(self.batch_size, len(self.order) - first)
        positions = torch.arange(first + self.rank, first + whole, self.world, device=draws.device)
        return Batch(positions, mine, draws, len(mine) * self.world / whole, fewest=whole // self.world)

    def indices(self) -> list[Tensor]:
        """Of every step's batch, on the CPU."""
        return [self._mine(self.order, step) for step in range(self.steps)]

    def slots(self, step: int, slots: Slots) -> Tensor:
        """(N,) int64, on the CPU: where the features of the batch's images are kept."""
        return slots.of(self._mine(self.order, step), self._mine(self.host_draws_ND, step))

    def _mine(self, values: Tensor, step: int) -> Tensor:
        """Of the step's, this rank's share."""
        return values[step * self.batch_size : (step + 1) * self.batch_size][self.rank :: self.world]


def plan_epoch(
    weights_N: Tensor, batch_size: int, seed: int, epoch: int, rank: int, world: int, device: torch.device
) -> Plan:
    """As many images as there are, each about as often as its weight (mean 1), shuffled; weights all alike: every
    image once. The same for every number of ranks. ValueError where a rank would have no image."""
    images = len(weights_N)
    if images < world:
        raise ValueError(f"{images} training images cannot be shared by {world} workers; use fewer workers")
    if batch_size < world:
        raise ValueError(f"batch_size: {batch_size} images cannot be shared by {world} workers; use fewer workers")
    generator = torch.Generator().manual_seed(seed_of(seed, "order", epoch))
    shuffled = torch.randperm(images, generator=generator)
    draws = augment.draw(images, generator)
    offset = float(torch.rand((), generator=generator))
    order = oversample.draw(weights_N, offset)[shuffled]
    return Plan(order, draws.to(device), draws, batch_size, rank, world)
