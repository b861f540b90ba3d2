"""What a process prints, line by line as JSON, each with the time when it came."""

import json
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any, Self

SHOWN = 2000
"""Characters of what was printed last, where what is waited for does not come."""


class Watch:
    """It ends where `other` fails, which is to make what is waited for."""

    def __init__(self, process: "subprocess.Popen[str]", other: "subprocess.Popen[str] | None" = None):
        self._process, self._other = process, other
        self._seen: list[tuple[float, Any]] = []
        self._rest: list[str] = []
        self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._thread.join(10)

    def until(self, wanted: Callable[[Any], bool], seconds: float) -> tuple[float, Any]:
        """The first that is `wanted`, and when it came (seconds of time.time). AssertionError where none comes."""
        end = time.monotonic() + seconds
        with self._changed:
            while not (found := self._first(wanted)) and time.monotonic() < end and not self._over:
                self._changed.wait(1)
        rest, last = "".join(self._rest[-30:]), repr(self._seen[-1:])[-SHOWN:]
        assert found, f"not within {seconds} s; last: {last}; also printed:\n{rest}"
        return found

    @property
    def last(self) -> Any:
        """What it printed last."""
        return self._seen[-1][1]

    @property
    def _over(self) -> bool:
        return self._ended or bool(self._other and self._other.poll())

    def _first(self, wanted: Callable[[Any], bool]) -> tuple[float, Any] | None:
        return next((seen for seen in self._seen if wanted(seen[1])), None)

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            with self._changed:
                if line.startswith("["):
                    self._keep(line)
                else:
                    self._rest.append(line)
                self._changed.notify_all()
        with self._changed:
            self._ended = True

    def _keep(self, line: str) -> None:
        try:
            self._seen.append((time.time(), json.loads(line)))
        except ValueError:  # a line of a log, such as "[2026-11-21 14:12:56,289 W ..."
            self._rest.append(line)
