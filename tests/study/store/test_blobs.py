"""Background writing: in order, one write a key, errors not lost, deletions only after what they make room for."""

import threading
import time
import uuid
from collections.abc import Callable

import pytest

from study.store import Store
from study.store.background import BackgroundWriter


class SlowStore(Store):
    """Waits before every write until `go` is set; keeps the order of what was done."""

    def __init__(self, uri: str):
        super().__init__(uri)
        self.go, self.begun, self.done = threading.Event(), threading.Event(), list[str]()

    def write(self, name: str, content: bytes) -> None:
        self.begun.set()
        assert self.go.wait(10)
        super().write(name, content)
        self.done.append(name)

    def delete(self, name: str) -> None:
        super().delete(name)
        self.done.append(f"-{name}")


@pytest.fixture
def store() -> SlowStore:
    return SlowStore(f"memory://{uuid.uuid4().hex}")


def content(text: bytes) -> Callable[[], bytes]:
    return lambda: text


def test_a_write_does_not_wait_for_store_or_content(store: SlowStore) -> None:
    writer = BackgroundWriter(store)
    writer.write("a", {"a": content(b"x")})
    assert not store.exists("a")
    store.go.set()
    writer.flush()
    assert store.read("a") == b"x"


def test_everything_in_order_and_deletions_after_their_write(store: SlowStore) -> None:
    store.go.set()
    writer = BackgroundWriter(store)
    for name in "abc":
        writer.write(name, {name: content(b"1")}, replaces={f"old {name}"})
    writer.then("last", lambda: store.done.append("action"))
    writer.flush()
    assert store.done == ["a", "-old a", "b", "-old b", "c", "-old c", "action"]


def test_a_slow_store_holds_one_job_a_key(store: SlowStore) -> None:
    """Ten epochs while the first write is stuck, the third of them the best: what the last checkpoint stands on."""
    writer = BackgroundWriter(store)
    for epoch in range(10):
        best = f"best-{min(epoch, 3)}"
        files = {best: content(b"1")} if epoch <= 3 else {}
        names = {best, f"checkpoint-{epoch}"}
        older = {f"best-{epoch - 1}", f"checkpoint-{epoch - 1}"} - names
        writer.write("trial", files | {f"checkpoint-{epoch}": content(b"1")}, older, names)
        assert store.begun.wait(10)
    assert len(writer._queue) == 1
    store.go.set()
    writer.flush()
    written = [name for name in store.done if not name.startswith("-")]
    assert written == ["best-0", "checkpoint-0", "best-3", "checkpoint-9"]
    assert store.names("") == ["best-3", "checkpoint-9"], "what the dropped ones were to replace is gone too"


def test_an_error_surfaces_in_the_caller_and_ends_the_writer(store: SlowStore) -> None:
    def broken() -> bytes:
        raise OSError("disk full")

    store.go.set()
    writer = BackgroundWriter(store)
    writer.write("a", {"a": broken}, replaces={"b"})
    for call in (writer.flush, writer.check, lambda: writer.write("c", {"c": content(b"1")})):
        with pytest.raises(OSError, match="disk full"):
            call()
    assert store.done == [], "nothing is deleted where the write failed"


def test_a_writer_goes_on_after_a_pause(store: SlowStore) -> None:
    store.go.set()
    writer = BackgroundWriter(store)
    for number in range(50):
        writer.write("a", {f"{number}": content(b"1")})
        writer.flush()
    assert len(store.names("")) == 50


def test_no_thread_stays_behind(store: SlowStore) -> None:
    store.go.set()
    writer = BackgroundWriter(store)
    writer.write("a", {"a": content(b"1")})
    writer.flush()
    for thread in threading.enumerate():
        if thread.name == "store":
            thread.join(5)
            assert not thread.is_alive()


def test_one_thread_writes_what_comes_within_a_moment_and_then_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.store.background.IDLE_SECONDS", 0.2)
    threads: set[int] = set()

    class Watched(Store):
        def write(self, name: str, content: bytes) -> None:
            threads.add(threading.get_ident())
            super().write(name, content)

    store = Watched(f"memory://{uuid.uuid4().hex}")
    writer = BackgroundWriter(store)
    before = threading.active_count()
    for number in range(5):
        writer.write("key", {f"file-{number}": content(b"x")})
        assert writer.flush(10)
    assert len(threads) == 1 and threading.active_count() == before + 1
    end = time.monotonic() + 10
    while threading.active_count() > before:
        assert time.monotonic() < end, "its thread stays for ever"
        time.sleep(0.05)
    writer.write("key", {"another": content(b"y")})
    assert writer.flush(10) and store.read("another") == b"y"
