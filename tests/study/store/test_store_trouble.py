"""A store in trouble: a server that is gone for a while, keys that are refused, a full disk, a wrong clock."""

import base64
import errno
import hashlib
import socket
import subprocess
import threading
import time
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import botocore.auth
import botocore.compat
import botocore.exceptions
import pytest
import s3fs
from s3_server import KEY, SECRET, S3Server

from study.store import Store, StoreError, retries
from study.store.retries import unusable


@pytest.fixture(autouse=True)
def no_old_connections() -> None:
    """fsspec keeps file systems by their arguments, among which the environment, with the server's address, is not."""
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FIRST_WAIT_SECONDS", 0.05)
    monkeypatch.setattr(retries, "LONGEST_WAIT_SECONDS", 0.5)


class Flaky(Store):
    """Raises each of `errors` once, one at a write, before it works."""

    errors: list[Exception]

    def _put(self, path: str, content: bytes, exclusive: bool = False) -> None:
        if self.errors:
            raise self.errors.pop(0)
        super()._put(path, content, exclusive)


def flaky(patience_seconds: float, *errors: Exception) -> tuple[Flaky, list[str]]:
    lines: list[str] = []
    store = Flaky(f"memory://{uuid.uuid4().hex}", patience_seconds, lines.append)
    store.errors = list(errors)
    return store, lines


def test_a_failure_that_passes_is_told_once_and_so_is_its_end() -> None:
    store, lines = flaky(30, *[ConnectionError("connection refused")] * 3)
    store.write("a", b"1")
    assert store.read("a") == b"1"
    trouble, over = lines
    assert "connection refused" in trouble and "trying again for 30 s, training goes on meanwhile" in trouble
    assert "works again after" in over and "nothing was lost" in over


def test_a_failure_that_stays_is_a_store_error_in_one_line() -> None:
    store, _ = flaky(0.3, *[ConnectionError("connection refused")] * 1000)
    with pytest.raises(StoreError, match=r"connection refused, tried for 0 s\); check the network") as caught:
        store.write("a", b"1")
    assert "\n" not in str(caught.value)


def test_without_patience_an_error_is_raised_at_once() -> None:
    store, lines = flaky(0, ConnectionError("connection refused"))
    with pytest.raises(ConnectionError):
        store.write("a", b"1")
    assert lines == []


@pytest.mark.parametrize("error", [TypeError("a bug"), FileNotFoundError("no such bucket")])
def test_what_does_not_pass_is_raised_at_once(error: Exception) -> None:
    store, lines = flaky(60, error)
    with pytest.raises(type(error)):
        store.write("a", b"1")
    assert lines == []


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "make room on the disk"),
        (PermissionError("AccessDenied"), "check the permissions, on S3 the credentials"),
        (PermissionError("RequestTimeTooSkewed: The difference is too large."), "set this machine's clock"),
        (botocore.exceptions.NoCredentialsError(), "give credentials: AWS_ACCESS_KEY_ID"),
        (botocore.exceptions.EndpointConnectionError(endpoint_url="http://x"), "check the network and the address"),
        (TimeoutError("timed out"), "check the network and the address"),
        (OSError(errno.EIO, "Input/output error"), "check the address and its permissions"),
    ],
)
def test_every_trouble_says_what_to_do(error: Exception, remedy: str) -> None:
    assert remedy in str(unusable("s3://b/study", error))


def test_a_full_disk_that_is_emptied(tmp_path: Path) -> None:
    """A real one: a file system of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=False, capture_output=True)
    if mount.returncode:
        pytest.skip(f"no file system can be mounted here: {mount.stderr.decode().strip()}")
    try:
        (disk / "ballast").write_bytes(bytes(900_000))
        lines: list[str] = []
        store = Store(str(disk), 30, lines.append)
        threading.Timer(0.5, (disk / "ballast").unlink).start()
        store.write("a", bytes(500_000))
        assert store.names("") == ["a"] and "make room on the disk" in lines[0]
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.slow
def test_an_s3_server_that_goes_and_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of its own: writes, reads and listings that begin while it is down end well, and what it had it still has."""
    server = S3Server(tmp_path)
    server.start()
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    try:
        lines: list[str] = []
        place = f"s3://studies/{uuid.uuid4().hex}"
        Store(place)._fs.mkdir("studies")
        store = Store(place, 120, lines.append)
        store.write("before", b"1")
        server.kill()
        again = threading.Timer(12.0, server.start)
        again.start()
        began = time.monotonic()
        store.write("after", b"2")
        assert time.monotonic() - began > 12.0
        assert (store.read("before"), store.read("after")) == (b"1", b"2")
        assert "check the network" in lines[0] and "works again after" in lines[1]
        again.join()  # the server answers a moment before `start` knows it
        server.kill()
        with pytest.raises(StoreError, match="cannot be used"):
            Store(place, 0.5).read("before")
    finally:
        server.kill()


def test_keys_that_are_refused(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not the one")
    lines: list[str] = []
    store = Store(f"s3://studies/{uuid.uuid4().hex}", 3.0, lines.append)
    store._connect(fresh=True)
    with pytest.raises(StoreError, match="check the permissions, on S3 the credentials") as caught:
        store.write("a", b"1")
    assert "not the one" not in str(caught.value) and "\n" not in str(caught.value)
    assert len(lines) == 1
    with pytest.raises(StoreError, match="check the permissions"), Store(store.uri).reached():
        store._fs.cat_file(store._path("a"))


def test_new_credentials_are_taken_up(s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Revoked in the credentials file, then given back there: the process need not be started again."""
    file = tmp_path / "credentials"

    def give(secret: str) -> None:
        file.write_text(f"[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {secret}\n")

    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    give("revoked")
    lines: list[str] = []
    store = Store(f"s3://studies/{uuid.uuid4().hex}", 30, lines.append)
    store._connect(fresh=True)
    threading.Timer(1.0, give, (SECRET,)).start()
    store.write("a", b"1")
    assert store.read("a") == b"1" and len(lines) == 2


def test_what_arrives_damaged_is_not_kept(s3_server: S3Server) -> None:
    """The server refuses content whose SHA-256 is not the one that was sent along."""
    store = Store(f"s3://studies/{uuid.uuid4().hex}")
    store.write("a", b"good")
    sent = base64.b64encode(hashlib.sha256(b"another").digest()).decode()
    with pytest.raises(OSError, match="did not match what we received"):
        store._fs.pipe_file(store._path("a"), b"damaged", ChecksumSHA256=sent)
    assert store.read("a") == b"good"


@pytest.mark.parametrize("patience", [0.0, 3.0])
def test_content_is_hashed_once_where_its_hash_is_signed(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, patience: float
) -> None:
    """And where it is not, the signature holds a hash of its own."""
    signed: dict[str, str] = {}
    sign = botocore.auth.S3SigV4Auth.add_auth

    def watch(self: botocore.auth.S3SigV4Auth, request: Any) -> None:
        sign(self, request)
        if request.method == "PUT":
            signed[request.url.rpartition("/")[2]] = request.headers["X-Amz-Content-SHA256"]
            assert "x-amz-content-sha256" in request.headers["Authorization"]

    monkeypatch.setattr(botocore.auth.S3SigV4Auth, "add_auth", watch)
    store = Store(f"s3://studies/{uuid.uuid4().hex}", patience)
    store.write("a", b"content")
    store._fs.pipe_file(store._path("b"), b"content")
    assert signed == {"a": "UNSIGNED-PAYLOAD", "b": hashlib.sha256(b"content").hexdigest()}


def test_large_files_go_in_parts(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.store.store.PART_BYTES", 5 * 2**20)
    store = Store(f"s3://studies/{uuid.uuid4().hex}")
    content = bytes(range(256)) * (12 * 2**12)
    store.write("a", content)
    assert store.read("a") == content and "-3" in store._fs.info(store._path("a"))["ETag"]


def test_a_clock_that_is_off(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = botocore.compat.get_current_datetime
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *given: clock(*given) + timedelta(hours=1))
    with pytest.raises(StoreError, match="set this machine's clock"):
        Store(f"s3://studies/{uuid.uuid4().hex}", 0.1).write("a", b"1")


def test_a_server_that_takes_a_connection_and_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """S3's client would wait for it for ever."""
    monkeypatch.setattr("study.store.store.ANSWER_SECONDS", 1.0)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(50)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "anybody")
        began, lines = time.monotonic(), list[str]()
        store = Store(f"s3://studies/{uuid.uuid4().hex}", 6.0, lines.append)
        store._connect(fresh=True)
        with pytest.raises(StoreError, match="cannot be used"):
            store.write("a", b"1")
        assert time.monotonic() - began < 20 and len(lines) == 1


def test_an_answer_that_is_cut_off_is_tried_again() -> None:
    import aiohttp
    from botocore.parsers import ResponseParserError

    store, lines = flaky(30, aiohttp.ClientPayloadError("incomplete"), ResponseParserError("not XML"))
    store.write("a", b"1")
    assert store.read("a") == b"1" and len(lines) == 2
