"""Writing to the store in the background, in order, one write pending at most: training never waits for a disk."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from study.store import Store


class BackgroundWriter:
    """`write` returns at once unless the write before has not ended; an error surfaces at the next call."""

    def __init__(self, store: Store):
        self._store = store
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self._pending: list[Future[None]] = []

    def write(self, files: dict[str, Callable[[], bytes]], then_delete: Iterable[str] = ()) -> None:
        """Write each name's content in the order given; the content is made in the background too.

        `then_delete` goes once all of it is written: what a file replaces is there until the file is.
        """
        self.flush()
        self._pending.append(self._thread.submit(self._write, files, list(then_delete)))

    def _write(self, files: dict[str, Callable[[], bytes]], then_delete: list[str]) -> None:
        for name, content in files.items():
            self._store.write(name, content())
        for name in then_delete:
            self._store.delete(name)

    def flush(self) -> None:
        """Wait until all is written."""
        pending, self._pending = self._pending, []
        for future in pending:
            future.result()
