"""A study in a database of Optuna's, for optuna-dashboard: every trial of the search, as it goes.

The records are the truth and the study's own search never reads it. All that the database is asked is asked by one
thread in the background, so that a database that is slow or gone costs the study nothing.
"""

import copy
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from study.optuna_copy import OptunaCopy
from study.optuna_storage import OptunaStorageError, unusable
from study.patience import patiently
from study.records import Record
from study.redact import redact
from study.spec import Spec

CLOSE_SECONDS = 20.0
"""At the end, the mirror is given up where for so long nothing has been delivered."""

Notice = Callable[[str], None]


class OptunaMirror:
    """The study `name` in the database at `url`, with `uri` as its user attribute: where the records are."""

    def __init__(self, url: str, name: str, uri: str, spec: Spec, notice: Notice):
        """`notice` is told in one line, from a thread, when the database cannot be used and when it can again."""
        self._url, self._notice = url, notice
        self._copy = OptunaCopy(url, name, uri, spec)
        self._records: dict[int, Record] = {}
        self._waiting: dict[int, None] = {}
        """Trials that have changed, in the order in which they first did."""
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._moved = time.monotonic()
        self._thread = threading.Thread(target=self._work, name="optuna", daemon=True)

    def sync(self, records: Iterable[Record]) -> None:
        """Begin: bring the database in line with these. Does not wait for it."""
        with self._changed:
            for record in records:
                self._put(record)
        self._thread.start()

    def update(self, record: Record) -> None:
        """The record has changed. Does not wait, and copies what it needs: the caller may go on with the record."""
        with self._changed:
            self._put(record)
            self._changed.notify_all()

    def close(self) -> None:
        """Deliver the rest, and see that the database has it all; but see CLOSE_SECONDS."""
        self._moved = time.monotonic()
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
        while self._thread.is_alive() and time.monotonic() - self._moved < CLOSE_SECONDS:
            self._thread.join(0.1)
        if self._thread.is_alive():
            waiting = len(self._waiting) or len(self._records)
            self._notice(
                f"--optuna-storage {redact(self._url)}: {waiting} trials were not delivered; the records have them, "
                "--resume with this flag delivers them"
            )

    def _put(self, record: Record) -> None:
        if record.replicate_of is not None:
            return
        # Rows are added, not changed: a new list of the same rows is a copy.
        snapshot = copy.copy(record)
        snapshot.epochs = list(record.epochs)
        self._records[record.trial] = snapshot
        self._waiting[record.trial] = None

    def _work(self) -> None:
        while not self._closing.is_set():
            self._deliver_patiently()
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing.is_set())
        # Whatever happened on the way, another process that wrote here among it: once more all is compared.
        self._deliver_patiently()
        self._copy.close()
        self._deliver_patiently()
        self._copy.close()

    def _deliver_patiently(self) -> None:
        patiently(self._deliver, lambda error: True, math.inf, self._in_trouble, self._out_of_trouble)

    def _deliver(self) -> None:
        """All that waits. After trouble it is not known what the database has: all is compared with what it has."""
        try:
            if not self._copy.open:
                self._begin()
            while record := self._next():
                if not self._copy.write(record):
                    self._copy.begin_anew()
                    self._all_wait()
                self._moved = time.monotonic()
        except Exception:
            self._copy.close()
            raise

    def _begin(self) -> None:
        with self._changed:
            records = dict(self._records)
        if not self._copy.begin(records):
            self._notice(
                f"--optuna-storage {redact(self._url)}: what it had of this study is written anew, from the records"
            )
        self._moved = time.monotonic()
        self._all_wait()

    def _all_wait(self) -> None:
        with self._changed:
            self._waiting = dict.fromkeys(sorted(self._records))

    def _next(self) -> Record | None:
        with self._changed:
            if not self._waiting:
                return None
            trial = next(iter(self._waiting))
            del self._waiting[trial]
            return self._records[trial]

    def _in_trouble(self, error: Exception, count: int) -> None:
        if count > 1:
            return
        known = error if isinstance(error, OptunaStorageError) else unusable(self._url, error)
        self._notice(f"{known}; the study goes on, its trials are sent later")

    def _out_of_trouble(self, seconds: float) -> None:
        self._notice(f"--optuna-storage {redact(self._url)}: works again after {seconds:.0f} s; nothing was lost")


def check(url: str, name: str, uri: str, spec: Spec, begun: bool) -> None:
    """OptunaStorageError where the database cannot be used, or its study of this name is another one: a study that has
    not `begun` has no trials there."""
    OptunaCopy(url, name, uri, spec).check(begun)


@contextmanager
def mirrored(
    url: str | None, name: str, uri: str, spec: Spec, records: Iterable[Record], notice: Notice
) -> Iterator[Callable[[Record], None]]:
    """What to call at every change of a record. Does nothing where there is no `url`."""
    if url is None:
        yield lambda record: None
        return
    mirror = OptunaMirror(url, name, uri, spec, notice)
    mirror.sync(records)
    try:
        yield mirror.update
    finally:
        mirror.close()
