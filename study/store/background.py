"""Ordered writes to the store in the background, so that training never waits for a disk or a network."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from study.store.store import Store

IDLE_SECONDS = 1.0
"""Seconds that a thread with nothing to write stays alive, because a new thread for each small write takes longer."""


@dataclass
class Job:
    files: dict[str, Callable[[], bytes]]
    replaces: set[str] = field(default_factory=set)


class BackgroundWriter:
    """A queue and the one thread that empties it. The thread ends if nothing comes for a while.

    However slow the store is, the queue holds only one write per key.
    """

    def __init__(self, store: Store):
        self._store = store
        self._queue: dict[str, Job | Callable[[], None]] = {}
        self._busy = self._has_thread = False
        self._error: Exception | None = None
        self._changed = threading.Condition()

    def write(
        self, key: str, files: dict[str, Callable[[], bytes]], replaces: Iterable[str] = (), needed: Iterable[str] = ()
    ) -> None:
        """Queue files by name, in this order. Their contents are made in the background too.

        The files `replaces` are deleted once all are written. A job of the same key that has not begun is dropped. The
        newer job replaces it, and takes over those of its files that are still `needed`. Raises the error of an earlier
        write, if there is one.
        """
        with self._changed:
            self._raise_error()
            dropped = self._queue.pop(key, None)
            job = Job(dict(files), set(replaces))
            if isinstance(dropped, Job):
                kept = set(needed)
                job.files = {name: content for name, content in dropped.files.items() if name in kept} | job.files
                job.replaces |= dropped.replaces - job.files.keys()
            self._put(key, job)

    def then(self, key: str, action: Callable[[], None]) -> None:
        """Queue an action that runs after everything queued before it."""
        with self._changed:
            self._raise_error()
            self._queue.pop(key, None)
            self._put(key, action)

    def flush(self, seconds: float | None = None) -> bool:
        """Wait until everything is written, or for `seconds`. Return whether everything is written.

        Raises the error of a failed write; what was queued behind it is not written.
        """
        with self._changed:
            done = self._changed.wait_for(lambda: self._error or not (self._queue or self._busy), seconds)
            self._raise_error()
            return bool(done)

    @property
    def broken(self) -> bool:
        """Whether a write has failed, after which nothing more is written."""
        return self._error is not None

    def check(self) -> None:
        """Raise the error of a failed write, if there is one."""
        with self._changed:
            self._raise_error()

    def _put(self, key: str, job: Job | Callable[[], None]) -> None:
        self._queue[key] = job
        self._changed.notify_all()
        if not self._has_thread:
            self._has_thread = True
            # A daemon, so that a store that is gone does not keep the process alive. To be sure of a write, call flush.
            threading.Thread(target=self._work, name="store", daemon=True).start()

    def _raise_error(self) -> None:
        if self._error:
            raise self._error

    def _work(self) -> None:
        """Run the jobs until the queue is empty, or until the first error, which the next call raises."""
        while job := self._next():
            try:
                self._do(job)
            except Exception as error:
                with self._changed:
                    self._error = error
                    self._changed.notify_all()
                return

    def _next(self) -> Job | Callable[[], None] | None:
        with self._changed:
            if not self._queue:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._queue, IDLE_SECONDS)
            self._busy = self._has_thread = bool(self._queue)
            return self._queue.pop(next(iter(self._queue))) if self._queue else None

    def _do(self, job: Job | Callable[[], None]) -> None:
        if not isinstance(job, Job):
            job()
            return
        for name, content in job.files.items():
            self._store.write(name, content())
        for name in sorted(job.replaces):
            self._store.delete(name)
