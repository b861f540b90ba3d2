"""A live copy of every trial of the search in an Optuna database, for optuna-dashboard.

The records are the truth, and the study's own search never reads the database. While the study runs, only one
background thread talks to it, so that a database that is slow or gone costs the study nothing.
"""

import copy
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from seg.errors import redact
from study.mirror.database import OptunaStorageError, unusable
from study.mirror.optuna_study import OptunaCopy
from study.spec import Spec
from study.store.records import Record
from study.store.retries import patiently

CLOSE_SECONDS = 20.0
"""Seconds without a delivery after which the mirror is given up at the end of a study."""

Notice = Callable[[str], None]


class OptunaMirror:
    """The study `name` in the database at `url`. Its user attribute `uri` says where the records are."""

    def __init__(self, url: str, name: str, uri: str, spec: Spec, notice: Notice):
        """`notice` is called from a thread, with one line, when the database fails and when it works again."""
        self._url, self._notice = url, notice
        self._copy = OptunaCopy(url, name, uri, spec)
        self._records: dict[int, Record] = {}
        self._waiting: dict[int, None] = {}
        """Trials that have changed and are not yet delivered, in the order of their first change."""
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._moved = time.monotonic()
        self._thread = threading.Thread(target=self._work, name="optuna", daemon=True)

    def sync(self, records: Iterable[Record]) -> None:
        """Start bringing the database in line with these records, without waiting for it."""
        with self._changed:
            for record in records:
                self._put(record)
        self._thread.start()

    def update(self, record: Record) -> None:
        """Queue a changed record, without waiting. It is copied, so the caller may change it further."""
        with self._changed:
            self._put(record)
            self._changed.notify_all()

    def close(self) -> None:
        """Deliver the rest and check that the database has everything.

        Gives up after CLOSE_SECONDS without a delivery.
        """
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
        # Rows are added but never changed, so a new list of the same rows is a copy.
        snapshot = copy.copy(record)
        snapshot.epochs = list(record.epochs)
        self._records[record.trial] = snapshot
        self._waiting[record.trial] = None

    def _work(self) -> None:
        while not self._closing.is_set():
            self._deliver_patiently()
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing.is_set())
        self._deliver_patiently()
        # Compare everything once more: another process, for example, may have written here.
        self._copy.close()
        self._deliver_patiently()
        self._copy.close()

    def _deliver_patiently(self) -> None:
        patiently(self._deliver, lambda error: True, math.inf, self._in_trouble, self._out_of_trouble)

    def _deliver(self) -> None:
        """Deliver all waiting records. After an error, compare all records with what the database has."""
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
    """Raise OptunaStorageError if the database cannot be used, or has another study of this name.

    A study that has not `begun` must have no results there.
    """
    OptunaCopy(url, name, uri, spec).check(begun)


@contextmanager
def mirrored(
    url: str | None, name: str, uri: str, spec: Spec, records: Iterable[Record], notice: Notice
) -> Iterator[Callable[[Record], None]]:
    """Yield the function to call at every change of a record. Without a `url` it does nothing."""
    if url is None:
        yield lambda record: None
        return
    mirror = OptunaMirror(url, name, uri, spec, notice)
    mirror.sync(records)
    try:
        yield mirror.update
    finally:
        mirror.close()
