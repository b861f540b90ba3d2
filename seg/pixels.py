"""A split's pixels, batch after batch on the device where a model is trained: held there as a whole, or, where they are
more than it has room for, sent from the pack's memory map while the batch before is computed."""

import functools
import math
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from seg.pack import Pack

AHEAD = 2
"""Batches that are under way to the device while one is computed."""
SHARE_OF_GPU = 0.5
"""Of the free memory, at most, for pixels: the rest is the model's."""


@dataclass(frozen=True)
class Pixels:
    """The images of one split on one device. On a CPU they are the pack's memory map itself: no copy."""

    ids: list[str]
    rows: Tensor
    """(N,) int64: where each image stands in `images_MHW3` and `masks_MHW`; where those are."""
    images_MHW3: Tensor
    masks_MHW: Tensor
    device: torch.device
    streamed: bool = False
    """Whether each batch is sent to the device from where the pixels lie."""

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, indices_N: Tensor) -> tuple[Tensor, Tensor]:
        """Images (N, 3, H, W), channels last in memory, and masks (N, H, W); both uint8."""
        return next(self.in_turn([indices_N]))

    def in_turn(self, batches: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """As `take`, of batch after batch; their indices are on the CPU. Nothing waits for a GPU, but that no more than
        AHEAD + 1 streamed batches are on it."""
        if self.streamed:
            yield from map(_channels_first, self._sent(batches))
        elif batches:
            whole = to_device(torch.cat(list(batches)), self.device)
            for indices in whole.split([len(batch) for batch in batches]):
                rows = self.rows[indices]
                yield _channels_first((self.images_MHW3.index_select(0, rows), self.masks_MHW.index_select(0, rows)))

    def _sent(self, batches: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Gathered and sent by a thread, on a stream of its own, AHEAD batches before they are asked for."""
        sender = _Sender(self, max(map(len, batches), default=0))
        with ThreadPoolExecutor(1, "pixels") as thread:
            upcoming = iter(batches)
            under_way: deque[Future[_Arrival]] = deque()
            for _ in range(AHEAD):
                under_way.extend(thread.submit(sender.send, batch, None) for batch in _next_of(upcoming))
            used: torch.cuda.Event | None = None
            while under_way:
                arrival = under_way.popleft().result()
                under_way.extend(thread.submit(sender.send, batch, used) for batch in _next_of(upcoming))
                yield arrival.received()
                used = _now(self.device)


@dataclass(frozen=True)
class _Arrival:
    images_NHW3: Tensor
    masks_NHW: Tensor
    sent: torch.cuda.Event | None

    def received(self) -> tuple[Tensor, Tensor]:
        """For the work that the caller queues on the device from now on."""
        if self.sent:
            here = torch.cuda.current_stream(self.images_NHW3.device)
            here.wait_event(self.sent)
            for values in (self.images_NHW3, self.masks_NHW):
                values.record_stream(here)  # their memory is another's only when that work is done
        return self.images_NHW3, self.masks_NHW


class _Sender:
    """Fills buffers and sends them. Those of a GPU are page-locked and used in turn: it reads one while the next is
    filled."""

    def __init__(self, pixels: Pixels, most: int):
        self._pixels = pixels
        self._gpu = pixels.device.type == "cuda"
        self._stream = _stream(pixels.device) if self._gpu else None
        self._buffers = deque((*self._buffers_of(most), torch.cuda.Event()) for _ in range(AHEAD * self._gpu))

    def _buffers_of(self, images: int) -> tuple[Tensor, Tensor]:
        sources = self._pixels.images_MHW3, self._pixels.masks_MHW
        with torch.inference_mode(False):  # the thread that fills them is in none
            one, other = (torch.empty(images, *s.shape[1:], dtype=s.dtype, pin_memory=self._gpu) for s in sources)
        return one, other

    def send(self, indices_N: Tensor, used: torch.cuda.Event | None) -> _Arrival:
        """Once `used` has come: that an earlier batch has been computed, so that those on the device remain few."""
        if used:
            used.synchronize()
        rows = self._pixels.rows[indices_N].numpy()
        if not self._gpu:
            images, masks = self._buffers_of(len(rows))
            self._fill(images, masks, rows)
            return _Arrival(images, masks, None)
        images, masks, sent = self._buffers[0]
        self._buffers.rotate(-1)
        sent.synchronize()
        images, masks = images[: len(rows)], masks[: len(rows)]
        self._fill(images, masks, rows)
        with torch.cuda.stream(self._stream):
            images, masks = (values.to(self._pixels.device, non_blocking=True) for values in (images, masks))
        sent.record(self._stream)
        return _Arrival(images, masks, sent)

    def _fill(self, images_NHW3: Tensor, masks_NHW: Tensor, rows: np.ndarray) -> None:
        """By NumPy: PyTorch would use several threads, which then wait busily for more, on cores that training uses."""
        for source, target in ((self._pixels.images_MHW3, images_NHW3), (self._pixels.masks_MHW, masks_NHW)):
            np.take(source.numpy(), rows, axis=0, out=target.numpy(), mode="clip")  # "raise" would copy twice


@functools.cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """One for all batches: memory that was set aside on a stream serves that stream alone."""
    return torch.cuda.Stream(device)


def _now(device: torch.device) -> torch.cuda.Event | None:
    """Comes when the device has done what was queued so far."""
    if device.type != "cuda":
        return None
    event = torch.cuda.Event()
    event.record(torch.cuda.current_stream(device))
    return event


def load(pack: Pack, split: str, device: torch.device, room_bytes: float | None = None) -> Pixels:
    """The images of `split` (train, val, test) of the pack. Those of more than `room_bytes` are streamed; None: of more
    than there is room for, see `room`."""
    rows = torch.from_numpy(np.asarray(pack.indices(split), dtype=np.int64))
    ids = [pack.ids[row] for row in rows.tolist()]
    images, masks = _as_tensor(pack.images_NHW3), _as_tensor(pack.masks_NHW)
    if device.type == "cpu":
        return Pixels(ids, rows, images, masks, device)
    if size(pack, split) > (room(device) if room_bytes is None else room_bytes):
        return Pixels(ids, rows, images, masks, device, streamed=True)
    there = torch.arange(len(ids), device=device)
    return Pixels(ids, there, images[rows].to(device), masks[rows].to(device), device)


def size(pack: Pack, split: str) -> int:
    """Bytes of its images and masks."""
    each = math.prod(pack.images_NHW3.shape[1:]) + math.prod(pack.masks_NHW.shape[1:])
    return len(pack.indices(split)) * each


def room(device: torch.device) -> float:
    """Bytes that pixels may take now of a GPU's memory, of this process's share where it has one; no end elsewhere."""
    if device.type != "cuda":
        return math.inf
    free, whole = torch.cuda.mem_get_info(device)
    held = torch.cuda.memory_allocated(device)
    share = torch.cuda.get_per_process_memory_fraction(device) * whole
    return SHARE_OF_GPU * min(free + torch.cuda.memory_reserved(device) - held, share - held)


def to_device(indices: Tensor, device: torch.device) -> Tensor:
    """Of a tensor on the CPU; nobody waits for a GPU."""
    return indices.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else indices.to(device)


def unit(images: Tensor) -> Tensor:
    """uint8 images as new floats in [0, 1]."""
    return images.float().div_(255)


def _channels_first(pixels: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    images_NHW3, masks_NHW = pixels
    return images_NHW3.permute(0, 3, 1, 2), masks_NHW


def _next_of(batches: Iterator[Tensor]) -> list[Tensor]:
    """At most one."""
    return [batch for batch in [next(batches, None)] if batch is not None]


def _as_tensor(array: np.ndarray) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable.*")  # it is read, never written
        return torch.from_numpy(array)
