"""Background writing: in order, errors not lost, deletions only after what they make room for."""

import threading
import uuid

import pytest

from study.blobs import BackgroundWriter
from study.store import Store


@pytest.fixture
def store() -> Store:
    return Store(f"memory://{uuid.uuid4().hex}")


def test_a_write_does_not_wait_for_the_content(store: Store) -> None:
    go_on = threading.Event()

    def slow() -> bytes:
        go_on.wait(10)
        return b"x"

    writer = BackgroundWriter(store)
    writer.write({"a": slow})
    assert not store.exists("a")
    go_on.set()
    writer.flush()
    assert store.read("a") == b"x"


def test_later_writes_win_and_deletions_follow_writes(store: Store) -> None:
    writer = BackgroundWriter(store)
    store.write("old", b"old")
    seen: list[bool] = []
    writer.write({"a": lambda: b"1"})
    writer.write(
        {"a": lambda: b"2", "b": lambda: seen.append(store.exists("old")) or b"3"}, then_delete=["old", "none"]
    )
    writer.flush()
    assert store.read("a") == b"2" and seen == [True] and store.names("") == ["a", "b"]


def test_an_error_surfaces_at_the_next_call_and_only_once(store: Store) -> None:
    def broken() -> bytes:
        raise OSError("disk full")

    writer = BackgroundWriter(store)
    writer.write({"a": broken}, then_delete=["b"])
    with pytest.raises(OSError, match="disk full"):
        writer.write({"c": lambda: b"1"})
    writer.flush()


def test_nothing_is_deleted_where_the_write_failed(store: Store) -> None:
    def broken() -> bytes:
        raise OSError("disk full")

    store.write("b", b"still needed")
    writer = BackgroundWriter(store)
    writer.write({"a": broken}, then_delete=["b"])
    with pytest.raises(OSError, match="disk full"):
        writer.flush()
    assert store.exists("b")
