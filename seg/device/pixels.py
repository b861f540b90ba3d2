"""A split's pixels, as batches on the device that trains a model.

The device holds all pixels if it has room for them. Otherwise they are sent from the pack's memory map, while the
previous batch is computed.
"""

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
"""The number of batches on their way to the device while one is computed."""
SHARE_OF_GPU = 0.5
"""The largest share of the free memory for pixels; the rest is for the model."""


@dataclass(frozen=True)
class Pixels:
    """The images of one split on one device. On a CPU they are the pack's memory map itself, without a copy."""

    ids: list[str]
    rows: Tensor
    """The row of each image in `images_MHW3` and `masks_MHW`: (N,) int64, on the same device as those."""
    images_MHW3: Tensor
    masks_MHW: Tensor
    device: torch.device
    streamed: bool = False
    """Whether the pixels are not on the device, and each batch is sent to it."""

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, indices_N: Tensor) -> tuple[Tensor, Tensor]:
        """Return images (N, 3, H, W), channels last in memory, and masks (N, H, W); both are uint8."""
        return next(self.in_turn([indices_N]))

    def in_turn(self, batches: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield what `take` returns for each batch of indices; the indices are on the CPU.

        It waits for a GPU only to keep no more than AHEAD + 1 streamed batches on it.
        """
        if self.streamed:
            yield from map(_channels_first, self._sent(batches))
        elif batches:
            whole = to_device(torch.cat(list(batches)), self.device)
            for indices in whole.split([len(batch) for batch in batches]):
                rows = self.rows[indices]
                yield _channels_first((self.images_MHW3.index_select(0, rows), self.masks_MHW.index_select(0, rows)))

    def _sent(self, batches: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches that a thread gathers and sends on its own stream, AHEAD batches before they are needed."""
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
        """Return the batch for the work that the caller queues on the device from now on."""
        if self.sent:
            here = torch.cuda.current_stream(self.images_NHW3.device)
            here.wait_event(self.sent)
            for values in (self.images_NHW3, self.masks_NHW):
                values.record_stream(here)  # their memory is reused only when that work is done
        return self.images_NHW3, self.masks_NHW


class _Sender:
    """A sender that copies batches into buffers and from there to the device.

    A GPU's buffers are page-locked and used in turn: the GPU reads one while the next is filled.
    """

    def __init__(self, pixels: Pixels, most: int):
        self._pixels = pixels
        self._gpu = pixels.device.type == "cuda"
        self._stream = _stream(pixels.device) if self._gpu else None
        self._buffers = deque((*self._buffers_of(most), torch.cuda.Event()) for _ in range(AHEAD * self._gpu))

    def _buffers_of(self, images: int) -> tuple[Tensor, Tensor]:
        sources = self._pixels.images_MHW3, self._pixels.masks_MHW
        with torch.inference_mode(False):  # the thread that fills them is not in that mode
            one, other = (torch.empty(images, *s.shape[1:], dtype=s.dtype, pin_memory=self._gpu) for s in sources)
        return one, other

    def send(self, indices_N: Tensor, used: torch.cuda.Event | None) -> _Arrival:
        """Send a batch after the event `used`, which says that an earlier batch has been computed.

        This limits the number of batches on the device.
        """
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
        """Copy the rows into the buffers with NumPy.

        PyTorch would use several threads, which then wait busily for more work on cores that training uses.
        """
        for source, target in ((self._pixels.images_MHW3, images_NHW3), (self._pixels.masks_MHW, masks_NHW)):
            np.take(source.numpy(), rows, axis=0, out=target.numpy(), mode="clip")  # "raise" would copy twice


@functools.cache
def _stream(device: torch.device) -> torch.cuda.Stream:
    """Return one stream for all batches: memory that was allocated on a stream serves only that stream."""
    return torch.cuda.Stream(device)


def _now(device: torch.device) -> torch.cuda.Event | None:
    """Return an event that comes when the device has done what was queued so far; None without CUDA."""
    if device.type != "cuda":
        return None
    event = torch.cuda.Event()
    event.record(torch.cuda.current_stream(device))
    return event


def load(pack: Pack, split: str, device: torch.device, room_bytes: float | None = None) -> Pixels:
    """Load the images of `split` (train, val, test) of the pack.

    On a GPU they are streamed if they exceed `room_bytes`; None stands for `room(device)`.
    """
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
    """Return the bytes of the split's images and masks."""
    each = math.prod(pack.images_NHW3.shape[1:]) + math.prod(pack.masks_NHW.shape[1:])
    return len(pack.indices(split)) * each


def room(device: torch.device) -> float:
    """Return the bytes of GPU memory that pixels may take now; infinity on other devices.

    If this process has only a share of the GPU, the bytes are within that share.
    """
    if device.type != "cuda":
        return math.inf
    device = with_index(device)
    free, whole = torch.cuda.mem_get_info(device)
    held = torch.cuda.memory_allocated(device)
    share = torch.cuda.get_per_process_memory_fraction(device) * whole
    return SHARE_OF_GPU * min(free + torch.cuda.memory_reserved(device) - held, share - held)


def with_index(device: torch.device) -> torch.device:
    """Return a GPU device with its index: the current one if it names none, which some calls of PyTorch refuse."""
    if device.type != "cuda" or device.index is not None:
        return device
    return torch.device("cuda", torch.cuda.current_device())


def to_device(indices: Tensor, device: torch.device) -> Tensor:
    """Copy a CPU tensor to the device without waiting for a GPU."""
    return indices.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else indices.to(device)


def _channels_first(pixels: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    images_NHW3, masks_NHW = pixels
    return images_NHW3.permute(0, 3, 1, 2), masks_NHW


def _next_of(batches: Iterator[Tensor]) -> list[Tensor]:
    """Take the next batch, as a list of at most one."""
    return [batch for batch in [next(batches, None)] if batch is not None]


def _as_tensor(array: np.ndarray) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable.*")  # it is read, never written
        return torch.from_numpy(array)
