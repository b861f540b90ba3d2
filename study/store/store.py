"""The place where a study is kept: bytes and JSON under one fsspec URI (a local folder, s3://bucket/prefix, ...).

Every write is all or nothing. On a local disk it goes through a temporary file and a rename; on an object store an
upload appears only when it is complete. A reader never sees half an object.
"""

import base64
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, TypeVar

import fsspec
from botocore.config import Config
from fsspec.callbacks import DEFAULT_CALLBACK as NO_CALLBACK
from fsspec.callbacks import Callback
from fsspec.implementations.local import LocalFileSystem

from seg.errors import redact
from study.store.retries import ANSWERS, FAILURES, NotStored, StoreError, patiently, unusable

__all__ = ["Store", "StoreError"]

T = TypeVar("T")

ANSWER_SECONDS = 60.0
SLOWEST_BYTES = 2**20
"""Bytes per second of a connection that is slow, but not dead."""
LARGE_BYTES = 2**29
"""The size in bytes that is assumed for a file whose size is not known before it is read."""
PART_BYTES = 50 * 2**20
"""The part size, in bytes, of an upload to S3. Uploads of at least twice this size are sent in parts."""


class Store:
    """Files below one URI, named by their path relative to it.

    With `patience_seconds`, a store that cannot be reached or written is tried again for that long, with growing waits,
    before StoreError is raised. `notice` is called with one line when this begins and one when it is over. Without
    patience, the file system's own error is raised at once.
    """

    def __init__(self, uri: str, patience_seconds: float = 0.0, notice: Callable[[str], None] = lambda line: None):
        """Connect to `uri`. Raises StoreError if its kind is not known."""
        self.uri = str(uri).rstrip("/")
        self._patience, self._notice = patience_seconds, notice
        try:
            self._connect()
        except (ValueError, ImportError) as error:
            raise StoreError(f"{self.uri}: cannot be used ({error}); give a folder or s3://bucket/prefix") from error
        if re.match("[A-Za-z]://", self.uri):  # fsspec takes it for a local folder, as on a Windows drive
            raise StoreError(f"{self.uri}: cannot be used (no such storage); give a folder or s3://bucket/prefix")

    def _connect(self, fresh: bool = False) -> None:
        # Do not cache listings: other processes write here too.
        options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": fresh}
        if self.uri.startswith(("s3://", "s3a://")):
            # Otherwise the client builds a long user agent for each request: a fifth of the time to read records.
            options["config_kwargs"] = {"user_agent": "segstudy"}
            if self._patience:
                # The store retries by itself. With the client's own retries inside each, a minute would become six.
                options["config_kwargs"]["retries"] = {"max_attempts": 1}
        self._fs, self._root = fsspec.core.url_to_fs(self.uri, **options)
        self._local = isinstance(self._fs, LocalFileSystem)
        self._s3 = "s3" in self._fs.protocol
        if self._patience and self._s3:
            self._fs.retries = 1

    def patient(self, seconds: float, notice: Callable[[str], None] = lambda line: None) -> "Store":
        """Return a store at the same place that has patience."""
        return type(self)(self.uri, seconds, notice)

    def _try(self, action: Callable[[], T]) -> T:
        if not self._patience:
            return action()
        try:
            return patiently(action, _passing, self._patience, self._in_trouble, self._out_of_trouble)
        except FAILURES as error:
            if isinstance(error, ANSWERS):
                raise
            raise unusable(self.uri, error, self._patience) from error

    def _in_trouble(self, error: Exception, count: int) -> None:
        # Use new connections, and credentials that may have been renewed.
        self._connect(fresh=True)
        if count > 1:
            return
        limit = f"{self._patience / 60:.0f} min" if self._patience >= 120 else f"{self._patience:.0f} s"
        self._notice(f"{unusable(self.uri, error)}; trying again for {limit}, training goes on meanwhile")

    def _out_of_trouble(self, seconds: float) -> None:
        self._notice(f"{redact(self.uri)}: works again after {seconds:.0f} s; nothing was lost")

    def _limit(self, size: int = 0) -> dict[str, float]:
        """Return the time limit of a request that carries `size` bytes, as an option of fsspec's remote file systems.

        Without a limit, S3's client waits forever for a server that accepts a connection and then says nothing.
        """
        return {"timeout": ANSWER_SECONDS + size / SLOWEST_BYTES} if getattr(self._fs, "async_impl", False) else {}

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def exists(self, name: str) -> bool:
        return self._try(lambda: bool(self._fs.exists(self._path(name), **self._limit())))

    def check_writable(self) -> None:
        """Raise StoreError if nothing can be written here: no permission, no such bucket, no connection."""
        probe = f".probe-{uuid.uuid4().hex[:8]}"
        with self.reached():
            self.write(probe, b"")
            self.delete(probe)

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Turn failures of the file system inside the block into a StoreError."""
        try:
            yield
        except FAILURES as error:
            raise unusable(self.uri, error) from error

    def read(self, name: str) -> bytes:
        """Return the content of `name`. Raises NotStored, a FileNotFoundError, if there is none."""
        try:
            return self._try(lambda: bytes(self._fs.cat_file(self._path(name), **self._limit(LARGE_BYTES))))
        except FileNotFoundError as error:
            raise NotStored(f"{redact(self.uri)}/{name}: missing; restore the file") from error

    def read_each(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return the contents by name, without missing files. They are fetched in parallel if the file system can."""
        wanted = list(names)
        paths = [self._path(name) for name in wanted]

        def fetch() -> list[bytes | Exception]:
            options: dict[str, Any] = {**self._limit(LARGE_BYTES), "on_error": "return"}
            if self._s3:  # each in one piece: otherwise S3's client first asks for the size, which is one more request
                options["max_concurrency"] = 1
            found = self._fs.cat_ranges(paths, None, None, **options) if paths else []
            for content in found:
                if isinstance(content, Exception) and not isinstance(content, FileNotFoundError):
                    raise content
            return list(found)

        contents = zip(wanted, self._try(fetch), strict=True)
        return {name: content for name, content in contents if not isinstance(content, Exception)}

    def write(self, name: str, content: bytes) -> None:
        """Write `content` to `name`. On S3 the server checks its SHA-256, and the size is read back."""
        self._try(lambda: self._put(self._path(name), content))

    def create(self, name: str, content: bytes) -> bool:
        """Write `name` unless it exists, in one step. Return False if it holds another content.

        If several processes try, one succeeds. Local disks, S3 and memory have such a step. On other file systems, the
        existence is checked before the write.
        """
        path = self._path(name)

        def attempt() -> bool:
            try:
                self._put(path, content, exclusive=True)
            except OSError as error:
                if not (isinstance(error, FileExistsError) or "pre-condition" in str(error).lower()):
                    raise
                # The answer to an earlier attempt may have been lost. Then its content is already there.
                return bool(self._fs.cat_file(path, **self._limit(len(content))) == content)
            return True

        return self._try(attempt)

    def _put(self, path: str, content: bytes, exclusive: bool = False) -> None:
        if self._local:
            self._put_local(path, content, exclusive)
            return
        mode = "create" if exclusive else "overwrite"
        checked: dict[str, Any] = {}
        if self._s3:
            checked["chunksize"] = PART_BYTES
            if len(content) < 2 * PART_BYTES:  # otherwise it is sent in parts, each with a checksum by the client
                checked["ChecksumSHA256"] = base64.b64encode(hashlib.sha256(content).digest()).decode()
                _hash_once(self._fs)
        self._fs.pipe_file(path, content, mode=mode, **checked, **self._limit(len(content)))
        self._check_size(path, len(content))

    def _check_size(self, path: str, sent: int) -> None:
        try:
            size = self._fs.info(path, **self._limit())["size"]
        except FileNotFoundError as error:
            raise OSError(f"{path} is not there after it was sent") from error
        if size != sent:
            raise OSError(f"{path} has {size} bytes after {sent} were sent")

    def _put_local(self, path: str, content: bytes, exclusive: bool) -> None:
        with self._partial(path) as file:
            file.write(content)
            _sync(file)
            if exclusive:
                os.link(file.name, path)
            else:
                os.replace(file.name, path)

    def _put_local_file(self, path: str, source: Path) -> None:
        with self._partial(path) as file, source.open("rb") as content:
            shutil.copyfileobj(content, file)
            _sync(file)
            os.replace(file.name, path)

    @contextmanager
    def _partial(self, path: str) -> Iterator[BinaryIO]:
        """Yield a new file beside `path` on a local disk, to be written and then given that name."""
        self._fs.makedirs(str(PurePosixPath(path).parent), exist_ok=True)
        partial = f"{path}.{uuid.uuid4().hex[:8]}.partial"
        try:
            with open(partial, "wb") as file:
                yield file
        finally:
            Path(partial).unlink(missing_ok=True)  # still there after a link, a full disk or an interruption

    def upload(self, name: str, source: Path, callback: Callback = NO_CALLBACK) -> None:
        """Send a file of any size without holding it in memory. `callback` is fsspec's and receives the bytes sent."""

        def attempt() -> None:
            path = self._path(name)
            if self._local:
                self._put_local_file(path, source)
            else:
                self._fs.put_file(str(source), path, callback=callback, **self._limit(source.stat().st_size))
            self._check_size(path, source.stat().st_size)

        self._try(attempt)

    def download(self, name: str, target: Path, callback: Callback = NO_CALLBACK) -> None:
        """Download `name` to `target`. Raises FileNotFoundError if there is none."""
        self._try(lambda: self._fs.get_file(self._path(name), str(target), callback=callback))

    def delete(self, name: str) -> None:
        """Remove a file. Nothing happens if there is none."""

        def remove() -> None:
            try:
                self._fs.rm_file(self._path(name))
            except FileNotFoundError:
                pass

        self._try(remove)

    def names(self, folder: str) -> list[str]:
        """Return the names directly below `folder`, sorted and relative to it; empty if the folder is missing."""

        def entries() -> list[str]:
            try:
                return list(self._fs.ls(self._path(folder), detail=False, **self._limit(LARGE_BYTES)))
            except FileNotFoundError:
                return []

        # Object stores may list the folder's own marker, `trials/`, beside its content.
        found = [PurePosixPath(entry).name for entry in self._try(entries) if not entry.endswith("/")]
        return sorted(name for name in found if not name.endswith(".partial"))

    def every_name(self, folder: str) -> list[str]:
        """Return the names of all files below `folder` at any depth, sorted and relative to the store.

        Half-written files are included.
        """
        prefix = self._fs._strip_protocol(self._path(""))
        found = self._try(lambda: self._fs.find(self._path(folder), **self._limit(LARGE_BYTES)))
        return sorted(str(PurePosixPath(entry).relative_to(prefix)) for entry in found)

    def read_json(self, name: str) -> Any:
        return json.loads(self.read(name))

    def write_json(self, name: str, value: Any) -> None:
        """Write strict JSON. Raises ValueError for a NaN, which must become null before it gets here."""
        self.write(name, encode_json(value))


def _hash_once(s3: Any) -> None:
    """Make S3's client hash an upload only once: the signed headers already hold the content's SHA-256."""
    events = s3.s3.meta.events
    events.register("before-sign.s3.PutObject", _sign_the_checksum_alone, unique_id="segstudy")


def _sign_the_checksum_alone(request: Any, **_: Any) -> None:
    config = request.context.get("client_config")
    if config and "x-amz-checksum-sha256" in request.headers:
        unsigned = Config(s3={**(config.s3 or {}), "payload_signing_enabled": False})
        request.context["client_config"] = config.merge(unsigned)


def encode_json(value: Any) -> bytes:
    """Return the value as JSON. Raises ValueError if a number is not finite."""
    return json.dumps(value, indent=1, allow_nan=False).encode()


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _passing(error: Exception) -> bool:
    """Whether the error may pass a little later: even a refused key may be restored, and a full disk emptied."""
    return isinstance(error, FAILURES) and not isinstance(error, ANSWERS)
