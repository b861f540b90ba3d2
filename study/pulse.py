"""Signs of life: a worker counts its steps, and tells the lane's mailbox that they go on, or where they stand still."""

import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

INTERVAL_SECONDS = 2.0


class Pulse:
    """`beat` is called once a step and costs nothing; a thread of its own passes it on every few seconds."""

    def __init__(self, mailbox: Any, rank: int):
        self._mailbox, self._rank = mailbox, rank
        self._steps = 0
        self._bounded = 0
        self._main = threading.get_ident()
        threading.Thread(target=self._watch, name="pulse", daemon=True).start()

    def beat(self) -> None:
        self._steps += 1

    @contextmanager
    def bounded(self) -> Iterator[None]:
        """What is inside ends by itself in bounded time, as waiting for the store does: it is no standstill."""
        self._bounded += 1
        try:
            yield
        finally:
            self._bounded -= 1

    def _watch(self) -> None:
        seen = -1
        pause = threading.Event()
        while not pause.wait(INTERVAL_SECONDS):
            alive = self._steps != seen or self._bounded > 0
            seen = self._steps
            self._mailbox.beat.remote(self._rank, "" if alive else self._stack())

    def _stack(self) -> str:
        frame = sys._current_frames().get(self._main)
        return "".join(traceback.format_stack(frame)) if frame else ""
