"""The end of a trial in the store, a record that names all that is there and no more; and its beginning again."""

import dataclasses
import time
from collections.abc import Iterable

from study.records import Record, State, now, record_name, write_record
from study.store import Store

LATE_SECONDS = 60.0
"""A lane that was told to stop a trial may still be sending its last files."""
POLL_SECONDS = 0.2


def end_in_store(store: Store, record: Record, late_seconds: float = LATE_SECONDS) -> None:
    """Write the record once its files are there, or so long later, leaving out what never came; then remove what it
    does not name."""
    there = _await(store, record, late_seconds)
    record.files = {kind: file for kind, file in record.files.items() if file in there}
    write_record(store, record)
    for name in there - {"record.json", *record.files.values()}:
        store.delete(f"{record.folder}/{name}")


def begin_again(store: Store, record: Record) -> None:
    """Make an ended trial one that has not begun; `extra["attempts"]` keeps what became of it before."""
    kept = ("state", "reason", "traceback", "started", "finished", "epochs")
    attempt = {name: getattr(record, name) for name in kept}
    same = (record.source, record.experiment, record.replicate_of)
    blank = Record(record.trial, record.id, State.RUNNING, *same, started=now())
    blank.extra["attempts"] = [*record.extra.get("attempts", []), attempt]
    for name in (field.name for field in dataclasses.fields(Record)):
        setattr(record, name, getattr(blank, name))
    # Its files first: cut off in between, it is still an ended trial, and none that goes on from an old checkpoint.
    for name in store.names(record.folder):
        if name != "record.json":
            store.delete(f"{record.folder}/{name}")
    write_record(store, record)


def _await(store: Store, record: Record, late_seconds: float) -> set[str]:
    """Names in the trial's folder, all that the record names among them, or too late for those."""
    end = time.monotonic() + late_seconds
    while True:
        there = set(store.names(record.folder))
        if there >= set(record.files.values()) or time.monotonic() > end:
            return there
        time.sleep(POLL_SECONDS)


def remove_unnamed(store: Store, ended: Iterable[Record]) -> None:
    """What no record of these trials names, with one listing; files half written by a killed process too. A trial
    that has not ended keeps everything: its checkpoint is there, and a lane may be writing."""
    named, folders = set(), set()
    for record in ended:
        folders.add(record.folder)
        named |= {record_name(record.trial), *(f"{record.folder}/{file}" for file in record.files.values())}
    for name in store.every_name("trials"):
        if name.rpartition("/")[0] in folders and name not in named:
            store.delete(name)
