"""The ranks that train together, and sums over them. Plain torch.distributed: works wherever a process group exists.

With several ranks on GPUs, BatchNorm's statistics are those of the whole batch (SyncBatchNorm). PyTorch does not have
this on CPUs: there each rank normalises by its own share of the batch. Validation and the weights file then use the
running statistics of rank 0.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True)
class Ranks:
    rank: int = 0
    world: int = 1

    @classmethod
    def current(cls) -> "Ranks":
        """Return the ranks of the default process group, or a single rank if there is no group."""
        if not (dist.is_available() and dist.is_initialized()):
            return cls()
        return cls(dist.get_rank(), dist.get_world_size())

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum the tensor over ranks, in place, and return it."""
        if self.world > 1:
            dist.all_reduce(tensor)
        return tensor

    def first(self, value: str | None) -> str | None:
        """Return rank 0's value on every rank."""
        if self.world == 1:
            return value
        held = [value]
        dist.broadcast_object_list(held, 0)
        return held[0]

    def all(self, value: str) -> tuple[str, ...]:
        """Return the values of all ranks, in rank order, on every rank."""
        if self.world == 1:
            return (value,)
        held: list[str] = [""] * self.world
        dist.all_gather_object(held, value)
        return tuple(held)

    def wrap(self, model: nn.Module, device: torch.device) -> nn.Module:
        """Return the module to call in training: the model, wrapped in DDP if there are several ranks."""
        if self.world == 1:
            return model
        return nn.parallel.DistributedDataParallel(model, device_ids=[device] if device.type == "cuda" else None)

    @staticmethod
    def gathering(wrapped: nn.Module, now: bool) -> AbstractContextManager[None]:
        """Return a context for a backward pass: gradients go to the other ranks `now`, or with a later pass."""
        if isinstance(wrapped, nn.parallel.DistributedDataParallel) and not now:
            return wrapped.no_sync()
        return nullcontext()

    def share_buffers(self, model: nn.Module) -> None:
        """Copy rank 0's buffers to every rank.

        After a step, each rank's BatchNorm statistics may come from its own images only.
        """
        if self.world > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, 0)
