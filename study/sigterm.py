"""A worker that is told to end (SIGTERM) sends its last checkpoint first.

Only while Ray's own processes live on: told to end too, they end their workers within a fraction of a second. A spot
machine says so before (study.spot_notice).

Python runs signal handlers on a process's main thread, and only there can one be set. Ray Train calls a worker's
training function on another thread, but a backend's `on_start` on the main one.
"""

import contextlib
import signal
import sys
from collections.abc import Callable
from typing import Any

from ray.train.torch import TorchConfig

_actions: list[Callable[[], Any]] = []


def before_the_end(action: Callable[[], Any]) -> None:
    """Have `action` done when this process is told to end, by the last caller only: a process has one worker."""
    _actions[:] = [action]


def _act_at_sigterm() -> None:
    before = signal.getsignal(signal.SIGTERM)

    def handler(number: int, frame: Any) -> None:
        for action in _actions:
            with contextlib.suppress(Exception):  # it ends all the same
                action()
        before(number, frame) if callable(before) else sys.exit(1)

    signal.signal(signal.SIGTERM, handler)


class _SavingBackend(TorchConfig().backend_cls):  # type: ignore[misc]
    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        super().on_start(worker_group, backend_config)
        worker_group.execute(_act_at_sigterm)


class SavingTorchConfig(TorchConfig):
    """Ray Train's own, and SIGTERM does what `before_the_end` was told."""

    @property
    def backend_cls(self) -> type:
        return _SavingBackend
