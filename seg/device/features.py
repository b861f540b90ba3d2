"""A cache of frozen-encoder features: an image costs a forward pass the first time, and later only a read.

It holds the features of images that augmentation leaves as they are or only flips. It leaves out the features that are
faster to compute than to read (Segmenter.shallow).

Cached features equal newly computed ones to the bit. How a convolution adds up depends on the number of images, so
features are always computed CHUNK images at a time; the last chunk is filled up.
"""

import fcntl
import functools
import hashlib
import importlib.metadata
import mmap
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from seg import augment
from seg.device.pixels import to_device
from seg.models.segmenter import Segmenter
from seg.options import AUGMENTATIONS, Augmentation

FORMAT = 2
"""The version of the file layout and of the features of this project's models; raise it when either changes."""
LIBRARIES = ("torch", "torchvision", "segmentation-models-pytorch", "timm")
"""The libraries whose versions features may depend on."""
CHUNK = 16
PAGE = 4096
SHARED_MEMORY = Path("/dev/shm")
MOST_OF_ROOM = 0.75
"""The largest share of the limit for the features of one split by one encoder."""


@torch.no_grad()
def compute(of: Callable[[Tensor], list[Tensor]], images_N3HW: Tensor) -> list[Tensor]:
    """Compute features of normalised images with `of`, the `features` or `shallow` method of a model.

    The encoder must be in evaluation mode. Each result is (N, C, h, w), channels last.
    """
    chunks = []
    for part in images_N3HW.split(CHUNK):
        filled = torch.cat([part, part[-1:].expand(CHUNK - len(part), -1, -1, -1)]) if len(part) < CHUNK else part
        chunks.append([feature[: len(part)] for feature in of(filled)])
    return [_channels_last(torch.cat(each) if len(each) > 1 else each[0]) for each in zip(*chunks, strict=True)]


@dataclass(frozen=True)
class Slots:
    """The places of a split's features in the cache: one slot for each image and variant."""

    images: int
    augmentation: Augmentation = AUGMENTATIONS["none"]

    @property
    def count(self) -> int:
        """The number of slots; 0 if augmentation makes a new image each time."""
        return self.images * (augment.variants(self.augmentation) or 0)

    def of(self, indices_N: Tensor, draws_ND: Tensor | None = None) -> Tensor:
        """Return the slots (N,) of the images with those draws; without draws, of the unaugmented images."""
        if draws_ND is None:
            return indices_N
        return augment.variant(self.augmentation, draws_ND) * self.images + indices_N


class Kept:
    """Cached features by slot, in one array for each feature map of the model.

    The arrays are in a file that all processes of a node share, or on a device. Several processes may compute and write
    the same slot, because each writes the same values.
    """

    def __init__(self, arrays: list[Tensor], filled: Tensor):
        self._arrays, self._filled = arrays, filled

    @property
    def count(self) -> int:
        """The number of feature maps that are cached for an image."""
        return len(self._arrays)

    def missing(self, slots_N: Tensor) -> Tensor:
        """Return which slots are not filled: (N,) bool, on the CPU."""
        inside = slots_N < len(self._filled)
        return ~(inside & self._filled[slots_N.where(inside, 0)].bool())

    def read(self, slots_N: Tensor) -> list[Tensor]:
        slots = to_device(slots_N, self._arrays[0].device)
        return [array.index_select(0, slots).permute(0, 3, 1, 2) for array in self._arrays]

    def write(self, slots_N: Tensor, features: Sequence[Tensor]) -> None:
        """Write the features that there is room for."""
        kept = (slots_N < len(self._filled)).nonzero()[:, 0]
        slots, chosen = slots_N[kept], to_device(torch.stack([slots_N[kept], kept]), self._arrays[0].device)
        for array, feature in zip(self._arrays, features, strict=True):
            array.index_copy_(0, chosen[0], feature[chosen[1]].permute(0, 2, 3, 1))
        self._filled.index_fill_(0, slots, 1)


class FeatureStore:
    """The features that this process caches for all encoders, within a limit.

    On a CPU they are in files below `root`, which every process of the node maps; on a GPU they are in its memory.
    """

    def __init__(self, limit_bytes: float, device: torch.device, root: Path | None = None):
        self._root, self._limit, self._device = root or default_root(limit_bytes), limit_bytes, device
        self._files: dict[Path, BinaryIO] = {}
        """The open files, each with a lock shared by all processes that use the file."""
        self._on_device: dict[str, tuple[Kept, int]] = {}
        """The features on the device, with their bytes."""

    def close(self) -> None:
        """Remove the files that this process used, except those that another process uses."""
        for path, file in self._files.items():
            file.close()
            _remove_unused(path)
        self._files.clear()

    def forget(self) -> None:
        """Drop the features from a GPU's memory, which training the whole model may need."""
        self._on_device.clear()

    def open(self, name: str, slots: int, like: Sequence[Tensor]) -> Kept | None:
        """Return the cache for features of those shapes and types; None if there is no room."""
        shapes = [(f.shape[2], f.shape[3], f.shape[1]) for f in like]
        widths = [h * w * c * f.element_size() for (h, w, c), f in zip(shapes, like, strict=True)]
        with torch.inference_mode(False):
            if self._device.type != "cpu":
                return self._open_on_device(name, slots, shapes, like, sum(widths))
            return self._open_file(name, slots, shapes, like, widths)

    def _open_on_device(
        self, name: str, slots: int, shapes: list[tuple[int, int, int]], like: Sequence[Tensor], width: int
    ) -> Kept | None:
        if name not in self._on_device:
            if len(self._on_device) > 1:
                self.forget()  # they are another encoder's, in training and validation
            held = sum(size for _, size in self._on_device.values())
            slots = min(slots, int(min(MOST_OF_ROOM * self._limit, self._limit - held) / width))
            try:
                arrays = [f.new_empty(slots, *shape) for f, shape in zip(like, shapes, strict=True)]
            except torch.OutOfMemoryError:
                return None
            self._on_device[name] = Kept(arrays, torch.zeros(slots, dtype=torch.uint8)), slots * width
        return self._on_device[name][0]

    def _open_file(
        self, name: str, slots: int, shapes: list[tuple[int, int, int]], like: Sequence[Tensor], widths: list[int]
    ) -> Kept | None:
        slots = min(slots, int(MOST_OF_ROOM * self._limit / sum(widths)))
        size = _pages(slots) + sum(_pages(slots * width) for width in widths)
        name = name_of(name, slots, shapes, [feature.dtype for feature in like])  # one layout per file
        mapped = self._map(self._root / f"{name}.{_boot()}", size) if slots else None
        if mapped is None:
            return None
        filled, at, arrays = torch.frombuffer(mapped, dtype=torch.uint8, count=slots), _pages(slots), []
        for feature, shape, width in zip(like, shapes, widths, strict=True):
            region = torch.frombuffer(mapped, dtype=torch.uint8, count=slots * width, offset=at) if width else feature
            arrays.append(region.view(feature.dtype).view(slots, *shape) if width else feature.new_empty(slots, *shape))
            at += _pages(slots * width)
        return Kept(arrays, filled)

    def _map(self, path: Path, size: int) -> mmap.mmap | None:
        """Map the file with all its pages allocated; return None if that is not possible.

        Writing to a page that the disk has no room for would end the process.
        """
        try:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._root.stat().st_uid != os.getuid() or not hasattr(os, "posix_fallocate"):
                return None  # another user's folder is not trusted; some systems cannot allocate pages
            if not path.exists() and self._room() < size:
                return None
            file = self._files.get(path) or path.open("a+b")
            self._files[path] = file
            fcntl.flock(file, fcntl.LOCK_SH)
            os.posix_fallocate(file.fileno(), 0, size)
            return mmap.mmap(file.fileno(), size)
        except OSError:  # the disk is full or cannot be written: cache nothing
            return None

    def _room(self) -> float:
        """Remove the unused files, and return the bytes available for a new one."""
        for path in self._root.iterdir():
            _remove_unused(path)
        disk = os.statvfs(self._root)
        return min(
            self._limit - sum(path.stat().st_size for path in self._root.iterdir()),
            disk.f_bavail * disk.f_frsize / 2,
        )


@dataclass
class Frozen:
    """A frozen encoder applied to a split: it reads cached features, and computes and caches missing ones."""

    model: Segmenter
    store: FeatureStore | None
    name: str
    """A name made from everything that the features depend on, except the slot."""
    slots: Slots
    _kept: Kept | None = field(default=None, init=False)
    _opened: bool = field(default=False, init=False)

    def __call__(self, images_N3HW: Tensor, slots_N: Tensor) -> list[Tensor]:
        """Return the features of normalised, augmented images, whose slots are on the CPU."""
        if not self.slots.count:
            with torch.no_grad():
                return self.model.features(images_N3HW)
        kept = self._open(images_N3HW)
        if kept is None:
            return compute(self.model.features, images_N3HW)
        missing = kept.missing(slots_N)
        if missing.all():
            features = compute(self.model.features, images_N3HW)
            kept.write(slots_N, features[: kept.count])
            return features
        shallow = compute(self.model.shallow, images_N3HW)
        if not missing.any():
            return kept.read(slots_N) + shallow
        fresh, known = (which.nonzero()[:, 0] for which in (missing, ~missing))
        new = compute(self.model.features, images_N3HW[to_device(fresh, images_N3HW.device)])[: kept.count]
        kept.write(slots_N[fresh], new)
        return [_merge(fresh, *both) for both in zip(new, repeat(known), kept.read(slots_N[known]))] + shallow

    def _open(self, images_N3HW: Tensor) -> Kept | None:
        if not self._opened and self.store:
            with torch.no_grad():
                like = self.model.features(images_N3HW[:1])
                like = like[: len(like) - len(self.model.shallow(images_N3HW[:1]))]
            self._kept = self.store.open(self.name, self.slots.count, like)
        self._opened = True
        return self._kept


def name_of(*parts: object) -> str:
    """Return a file name that differs if a part, a library's version, or the number of threads differs."""
    determining = [FORMAT, CHUNK, *parts, torch.get_num_threads(), *map(_version, LIBRARIES)]
    return hashlib.blake2b(repr(determining).encode(), digest_size=12).hexdigest()


def default_root(limit_bytes: float) -> Path:
    """Return the cache folder of this machine and user.

    It is in memory if twice the limit is free there, else on the disk, whose pages come more slowly. The epoch that
    fills them took 6.9 s on the disk and 4.4 s in memory.
    """
    with suppress(OSError):
        memory = os.statvfs(SHARED_MEMORY)
        if memory.f_bavail * memory.f_frsize > 2 * limit_bytes:
            return SHARED_MEMORY / f"segstudy-{os.getuid()}"
    return Path(tempfile.gettempdir()) / f"segstudy-{os.getuid()}"


@functools.cache
def _version(library: str) -> str:
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(library)
    return ""


def _channels_last(feature: Tensor) -> Tensor:
    return feature.contiguous(memory_format=torch.channels_last)


def _merge(fresh: Tensor, new: Tensor, known: Tensor, old: Tensor) -> Tensor:
    """Join the features of the batch's positions `fresh` and `known`, in the batch's order."""
    position = to_device(torch.cat([fresh, known]).argsort(), new.device)
    return _channels_last(torch.cat([new, old])[position])


def _pages(size: int) -> int:
    return -(-size // PAGE) * PAGE


def _remove_unused(path: Path) -> None:
    """Remove the file unless a process holds its lock; the kernel releases the lock however the process ends."""
    with suppress(OSError), path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()


@functools.cache
def _boot() -> str:
    """Return the id of this boot of the machine: in an older file, pages that are marked as filled may be missing."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return "unknown"
