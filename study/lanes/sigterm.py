"""Make a worker that receives SIGTERM send its last checkpoint before it ends.

This works only while Ray's own processes live on. If they are told to end too, they end their workers within a
fraction of a second; a spot machine announces that earlier (see study.spot_notice).

Python runs signal handlers on a process's main thread, and a handler can be set only there. Ray Train calls a worker's
training function on another thread, but a backend's `on_start` on the main thread.
"""

import contextlib
import signal
import sys
from collections.abc import Callable
from typing import Any

from ray.train.torch import TorchConfig

from study.lanes import ray_internals

_actions: list[Callable[[], Any]] = []


def before_the_end(action: Callable[[], Any]) -> None:
    """Set the action to run when this process receives SIGTERM.

    It replaces the one set before: a process has one worker.
    """
    _actions[:] = [action]


def _act_at_sigterm() -> None:
    before = signal.getsignal(signal.SIGTERM)

    def handler(number: int, frame: Any) -> None:
        for action in _actions:
            with contextlib.suppress(Exception):  # the process ends in any case
                action()
        before(number, frame) if callable(before) else sys.exit(1)

    signal.signal(signal.SIGTERM, handler)


class _SavingBackend(ray_internals.torch_backend()):  # type: ignore[misc]
    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        super().on_start(worker_group, backend_config)
        worker_group.execute(_act_at_sigterm)


class SavingTorchConfig(TorchConfig):
    """Ray Train's TorchConfig, with workers that run the action of `before_the_end` on SIGTERM."""

    @property
    def backend_cls(self) -> type:
        return _SavingBackend
