"""The ranks that train together, and sums over them. Plain torch.distributed: works wherever a process group exists.

What BatchNorm means over several ranks: on GPUs its statistics are those of the whole batch (SyncBatchNorm). On CPUs,
where PyTorch has none of that, each rank normalises by its own share of the batch, and the running statistics that
validation and the weights file have are rank 0's.
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
        """Of the default process group; a single rank where there is none."""
        if not (dist.is_available() and dist.is_initialized()):
            return cls()
        return cls(dist.get_rank(), dist.get_world_size())

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over ranks, in place."""
        if self.world > 1:
            dist.all_reduce(tensor)
        return tensor

    def first(self, value: str | None) -> str | None:
        """Rank 0's value, on every rank."""
        if self.world == 1:
            return value
        held = [value]
        dist.broadcast_object_list(held, 0)
        return held[0]

    def all(self, value: str) -> tuple[str, ...]:
        """Each rank's value, in their order, on every rank."""
        if self.world == 1:
            return (value,)
        held: list[str] = [""] * self.world
        dist.all_gather_object(held, value)
        return tuple(held)

    def wrap(self, model: nn.Module, device: torch.device) -> nn.Module:
        """The module to call in training: DDP where there are several ranks."""
        if self.world == 1:
            return model
        return nn.parallel.DistributedDataParallel(model, device_ids=[device] if device.type == "cuda" else None)

    @staticmethod
    def gathering(wrapped: nn.Module, now: bool) -> AbstractContextManager[None]:
        """A context for a backward pass: gradients go to the other ranks `now`, or with a later pass."""
        if isinstance(wrapped, nn.parallel.DistributedDataParallel) and not now:
            return wrapped.no_sync()
        return nullcontext()

    def share_buffers(self, model: nn.Module) -> None:
        """Rank 0's buffers everywhere: after a step, each rank's BatchNorm statistics have seen its own images only."""
        if self.world > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, 0)
