"""Resident data: a split's pixels held where training runs, batches indexed out of them there."""

import functools
import hashlib
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from seg import augment, oversample
from seg.features import Slots
from seg.pack import Pack

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Resident:
    """The images of one split on one device. On a CPU it is the pack's memory map itself: no copy."""

    ids: list[str]
    rows: Tensor
    """(N,) int64: where each image stands in `images_MHW3` and `masks_MHW`."""
    images_MHW3: Tensor
    masks_MHW: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Images (N, 3, H, W) float in [0, 1], channels last in memory; masks (N, H, W) uint8."""
        rows = self.rows[indices]
        images = self.images_MHW3.index_select(0, rows).permute(0, 3, 1, 2)
        return images.float().div_(255), self.masks_MHW.index_select(0, rows)


def resident(pack: Pack, split: str, device: torch.device) -> Resident:
    """The images of `split` (train, val, test) of the pack."""
    rows = torch.from_numpy(np.asarray(pack.indices(split), dtype=np.int64))
    ids = [pack.ids[row] for row in rows.tolist()]
    images, masks = _as_tensor(pack.images_NHW3), _as_tensor(pack.masks_NHW)
    if device.type != "cpu":
        images, masks = images[rows].to(device), masks[rows].to(device)
        rows = torch.arange(len(ids), device=device)
    return Resident(ids, rows, images, masks)


def _as_tensor(array: np.ndarray) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable.*")  # it is read, never written
        return torch.from_numpy(array)


def normalise(images_N3HW: Tensor, normalize: str) -> Tensor:
    """[0, 1] pixels as the model takes them; see Experiment.normalize."""
    if normalize == "unit":
        return images_N3HW
    mean, std = _imagenet(images_N3HW.device, images_N3HW.dtype)
    return (images_N3HW - mean) / std


@functools.cache
def _imagenet(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Mean and deviation (1, 3, 1, 1), copied to a device once: every copy makes the host wait for the device."""
    with torch.inference_mode(False):  # training uses them too, whoever came first
        mean, std = (torch.tensor(values, device=device, dtype=dtype) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return mean.view(1, 3, 1, 1), std.view(1, 3, 1, 1)


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
    draws_ND: Tensor
    on_host: tuple[Tensor, Tensor]
    """Order and draws once more, on the CPU: to look into them there makes nobody wait for the device."""
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
        span = self._span(step)
        whole = self.order[span]
        mine = whole[self.rank :: self.world]
        first = step * self.batch_size
        positions = torch.arange(first + self.rank, first + len(whole), self.world, device=whole.device)
        draws = self.draws_ND[span][self.rank :: self.world]
        share = len(mine) * self.world / len(whole)
        return Batch(positions, mine, draws, share, fewest=len(whole) // self.world)

    def slots(self, step: int, slots: Slots) -> Tensor:
        """(N,) int64, on the CPU: where the features of the batch's images are kept."""
        order, draws_ND = (values[self._span(step)][self.rank :: self.world] for values in self.on_host)
        return slots.of(order, draws_ND)

    def _span(self, step: int) -> slice:
        return slice(step * self.batch_size, (step + 1) * self.batch_size)


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
    return Plan(order.to(device), draws.to(device), (order, draws), batch_size, rank, world)
