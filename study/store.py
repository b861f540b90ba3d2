"""Where a study lives: bytes and JSON under one fsspec URI (a local folder, s3://bucket/prefix, ...).

Every write is all or nothing: on a local disk through a temporary file and a rename, on an object
store because an upload appears only when complete. A reader never sees half an object.
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

from study.patience import patiently
from study.redact import redact
from study.store_error import ANSWERS, FAILURES, StoreError, unusable

__all__ = ["Store", "StoreError"]

T = TypeVar("T")

ANSWER_SECONDS = 60.0
SLOWEST_BYTES = 2**20
"""Bytes a second of a connection that is slow, but not dead."""
LARGE_BYTES = 2**29
"""Taken as the size of what is not known before it is read."""
PART_BYTES = 50 * 2**20
"""Of an upload to S3 in parts, which one of twice this size or more is."""


class Store:
    """Files below one URI, named by their path relative to it.

    With `patience_seconds`, a store that cannot be reached or written is tried again for so long, with growing waits,
    before StoreError is raised; `notice` is told, in a line each, when that begins and when it is over. Without,
    the file system's own error is raised at once.
    """

    def __init__(self, uri: str, patience_seconds: float = 0.0, notice: Callable[[str], None] = lambda line: None):
        """StoreError where the kind of `uri` is not known."""
        self.uri = str(uri).rstrip("/")
        self._patience, self._notice = patience_seconds, notice
        try:
            self._connect()
        except (ValueError, ImportError) as error:
            raise StoreError(f"{self.uri}: cannot be used ({error}); give a folder or s3://bucket/prefix") from error
        if re.match("[A-Za-z]://", self.uri):  # a folder of that name, to fsspec: it may be a drive of Windows
            raise StoreError(f"{self.uri}: cannot be used (no such storage); give a folder or s3://bucket/prefix")

    def _connect(self, fresh: bool = False) -> None:
        # No listings are kept: other processes write here too.
        options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": fresh}
        if self.uri.startswith(("s3://", "s3a://")):
            # Else the client puts together a long one of its own for each request: a fifth of the time to read records.
            options["config_kwargs"] = {"user_agent": "segstudy"}
            if self._patience:
                # The store tries again itself: with the client's own tries inside each of its, a minute would be six.
                options["config_kwargs"]["retries"] = {"max_attempts": 1}
        self._fs, self._root = fsspec.core.url_to_fs(self.uri, **options)
        self._local = isinstance(self._fs, LocalFileSystem)
        self._s3 = "s3" in self._fs.protocol
        if self._patience and self._s3:
            self._fs.retries = 1

    def patient(self, seconds: float, notice: Callable[[str], None] = lambda line: None) -> "Store":
        """The same place, with patience."""
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
        # With new connections, and credentials that may have been given anew.
        self._connect(fresh=True)
        if count > 1:
            return
        limit = f"{self._patience / 60:.0f} min" if self._patience >= 120 else f"{self._patience:.0f} s"
        self._notice(f"{unusable(self.uri, error)}; trying again for {limit}, training goes on meanwhile")

    def _out_of_trouble(self, seconds: float) -> None:
        self._notice(f"{redact(self.uri)}: works again after {seconds:.0f} s; nothing was lost")

    def _limit(self, size: int = 0) -> dict[str, float]:
        """A time limit for a request that carries so many bytes, as fsspec's remote file systems take it: S3's client
        waits for ever for a server that takes a connection and then says nothing."""
        return {"timeout": ANSWER_SECONDS + size / SLOWEST_BYTES} if getattr(self._fs, "async_impl", False) else {}

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def exists(self, name: str) -> bool:
        return self._try(lambda: bool(self._fs.exists(self._path(name), **self._limit())))

    def check_writable(self) -> None:
        """StoreError where nothing can be written here: no permission, no such bucket, no connection."""
        probe = f".probe-{uuid.uuid4().hex[:8]}"
        with self.reached():
            self.write(probe, b"")
            self.delete(probe)

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Failures of the file system inside become a StoreError."""
        try:
            yield
        except FAILURES as error:
            raise unusable(self.uri, error) from error

    def read(self, name: str) -> bytes:
        """Content of `name`; FileNotFoundError where there is none."""
        return self._try(lambda: bytes(self._fs.cat_file(self._path(name), **self._limit(LARGE_BYTES))))

    def read_each(self, names: Iterable[str]) -> dict[str, bytes]:
        """Contents by name, fetched side by side where the file system can; those that are missing are left out."""
        wanted = list(names)
        paths = [self._path(name) for name in wanted]

        def fetch() -> list[bytes | Exception]:
            options: dict[str, Any] = {**self._limit(LARGE_BYTES), "on_error": "return"}
            if self._s3:  # each in one piece: else S3's client asks how large it is first, a request more
                options["max_concurrency"] = 1
            found = self._fs.cat_ranges(paths, None, None, **options) if paths else []
            for content in found:
                if isinstance(content, Exception) and not isinstance(content, FileNotFoundError):
                    raise content
            return list(found)

        contents = zip(wanted, self._try(fetch), strict=True)
        return {name: content for name, content in contents if not isinstance(content, Exception)}

    def write(self, name: str, content: bytes) -> None:
        """On S3 the server checks the content's SHA-256, and the size is read back."""
        self._try(lambda: self._put(self._path(name), content))

    def create(self, name: str, content: bytes) -> bool:
        """Write `name` unless it exists, as one step: of several who try, one succeeds. Whether it is this content.

        On file systems that know no such step (other than local disks, S3 and memory), a look before the write.
        """
        path = self._path(name)

        def attempt() -> bool:
            try:
                self._put(path, content, exclusive=True)
            except OSError as error:
                if not (isinstance(error, FileExistsError) or "pre-condition" in str(error).lower()):
                    raise
                # An answer that was lost on the way made a second attempt: then the first one's content is there.
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
            if len(content) < 2 * PART_BYTES:  # else it goes in parts, each with a checksum of the client's own
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
        """A file beside `path` on a local disk, to be written and given its name."""
        self._fs.makedirs(str(PurePosixPath(path).parent), exist_ok=True)
        partial = f"{path}.{uuid.uuid4().hex[:8]}.partial"
        try:
            with open(partial, "wb") as file:
                yield file
        finally:
            Path(partial).unlink(missing_ok=True)  # there only where the disk is full, or the process interrupted

    def upload(self, name: str, source: Path, callback: Callback = NO_CALLBACK) -> None:
        """A file of any size, without holding it in memory; `callback` is fsspec's, told of the bytes as they go."""

        def attempt() -> None:
            path = self._path(name)
            if self._local:
                self._put_local_file(path, source)
            else:
                self._fs.put_file(str(source), path, callback=callback, **self._limit(source.stat().st_size))
            self._check_size(path, source.stat().st_size)

        self._try(attempt)

    def download(self, name: str, target: Path, callback: Callback = NO_CALLBACK) -> None:
        """FileNotFoundError where there is none."""
        self._try(lambda: self._fs.get_file(self._path(name), str(target), callback=callback))

    def delete(self, name: str) -> None:
        """Remove a file; nothing happens where there is none."""

        def remove() -> None:
            try:
                self._fs.rm_file(self._path(name))
            except FileNotFoundError:
                pass

        self._try(remove)

    def names(self, folder: str) -> list[str]:
        """Names directly below `folder`, sorted, relative to it; empty where the folder is missing."""

        def entries() -> list[str]:
            try:
                return list(self._fs.ls(self._path(folder), detail=False, **self._limit(LARGE_BYTES)))
            except FileNotFoundError:
                return []

        # Object stores may list the folder's own marker, `trials/`, beside what is in it.
        found = [PurePosixPath(entry).name for entry in self._try(entries) if not entry.endswith("/")]
        return sorted(name for name in found if not name.endswith(".partial"))

    def every_name(self, folder: str) -> list[str]:
        """Names of all files below `folder` at any depth, sorted, relative to the store; half-written ones too."""
        prefix = self._fs._strip_protocol(self._path(""))
        found = self._try(lambda: self._fs.find(self._path(folder), **self._limit(LARGE_BYTES)))
        return sorted(str(PurePosixPath(entry).relative_to(prefix)) for entry in found)

    def read_json(self, name: str) -> Any:
        return json.loads(self.read(name))

    def write_json(self, name: str, value: Any) -> None:
        """Strict JSON: a NaN becomes null before it gets here, or this raises ValueError."""
        self.write(name, encode_json(value))


def _hash_once(s3: Any) -> None:
    """An upload whose signed headers hold the content's SHA-256 needs no second one in its signature."""
    events = s3.s3.meta.events
    events.register("before-sign.s3.PutObject", _sign_the_checksum_alone, unique_id="segstudy")


def _sign_the_checksum_alone(request: Any, **_: Any) -> None:
    config = request.context.get("client_config")
    if config and "x-amz-checksum-sha256" in request.headers:
        unsigned = Config(s3={**(config.s3 or {}), "payload_signing_enabled": False})
        request.context["client_config"] = config.merge(unsigned)


def encode_json(value: Any) -> bytes:
    """ValueError where a number is not finite."""
    return json.dumps(value, indent=1, allow_nan=False).encode()


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _passing(error: Exception) -> bool:
    """Whether it may be otherwise a little later: even a refused key may be given back, and a full disk emptied."""
    return isinstance(error, FAILURES) and not isinstance(error, ANSWERS)
