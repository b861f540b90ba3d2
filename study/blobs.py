"""Writing to the store in the background, in order: training never waits for a disk or a network."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from study.store import Store

IDLE_SECONDS = 1.0
"""A thread that has nothing to write stays for so long: many small writes take less than a thread for each of them."""


@dataclass
class Job:
    files: dict[str, Callable[[], bytes]]
    replaces: set[str] = field(default_factory=set)


class BackgroundWriter:
    """A queue and the one thread that empties it, and ends where nothing comes for a while. However slow the store is,
    the queue holds one write a key."""

    def __init__(self, store: Store):
        self._store = store
        self._queue: dict[str, Job | Callable[[], None]] = {}
        self._busy = self._has_thread = False
        self._error: Exception | None = None
        self._changed = threading.Condition()

    def write(
        self, key: str, files: dict[str, Callable[[], bytes]], replaces: Iterable[str] = (), needed: Iterable[str] = ()
    ) -> None:
        """Queue files by name, in this order; their contents are made in the background too.

        `replaces` are deleted once all are written. A job of the same key that has not begun is dropped: the newer one
        stands for it, and takes over those of its files that are still `needed`. Raises what an earlier write ended
        with.
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
        """Queue an action, which runs after all that is queued before it."""
        with self._changed:
            self._raise_error()
            self._queue.pop(key, None)
            self._put(key, action)

    def flush(self, seconds: float | None = None) -> bool:
        """Wait until all is written, or so long; whether it is. Raises what a write ended with; what was queued behind
        it is not written."""
        with self._changed:
            done = self._changed.wait_for(lambda: self._error or not (self._queue or self._busy), seconds)
            self._raise_error()
            return bool(done)

    @property
    def broken(self) -> bool:
        """Whether a write has failed: nothing is written any more."""
        return self._error is not None

    def check(self) -> None:
        """Raises what a write ended with."""
        with self._changed:
            self._raise_error()

    def _put(self, key: str, job: Job | Callable[[], None]) -> None:
        self._queue[key] = job
        self._changed.notify_all()
        if not self._has_thread:
            self._has_thread = True
            # A daemon: a store that is gone must not keep a process alive. Whoever needs it written calls flush.
            threading.Thread(target=self._work, name="store", daemon=True).start()

    def _raise_error(self) -> None:
        if self._error:
            raise self._error

    def _work(self) -> None:
        """Ends with the queue empty, or at the first error, which the next call raises."""
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
