"""Where a study lives: bytes and JSON under one fsspec URI (a local folder, s3://bucket/prefix, ...).

Every write is all or nothing: on a local disk through a temporary file and a rename, on an object
store because an upload appears only when complete. A reader never sees half an object.
"""

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem


class StoreError(Exception):
    """A URI that cannot be used. The message is one line: which, why, what to do."""


class Store:
    """Files below one URI, named by their path relative to it. StoreError where its kind is not known."""

    def __init__(self, uri: str):
        self.uri = str(uri).rstrip("/")
        try:
            # No listings are kept: other processes write here too.
            self._fs, self._root = fsspec.core.url_to_fs(self.uri, use_listings_cache=False)
        except (ValueError, ImportError) as error:
            raise StoreError(f"{self.uri}: cannot be used ({error}); give a folder or s3://bucket/prefix") from error
        self._local = isinstance(self._fs, LocalFileSystem)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def exists(self, name: str) -> bool:
        return self._fs.exists(self._path(name))

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
        except _failures(self._fs) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise StoreError(f"{self.uri}: cannot be used ({reason}); check the address and its permissions") from error

    def read(self, name: str) -> bytes:
        """Content of `name`; FileNotFoundError where there is none."""
        return self._fs.cat_file(self._path(name))

    def write(self, name: str, content: bytes) -> None:
        path = self._path(name)
        if not self._local:
            self._fs.pipe_file(path, content)
            return
        self._fs.makedirs(str(PurePosixPath(path).parent), exist_ok=True)
        partial = f"{path}.{uuid.uuid4().hex[:8]}.partial"
        try:
            with open(partial, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        finally:
            Path(partial).unlink(missing_ok=True)  # there only where the disk is full, or the process interrupted

    def delete(self, name: str) -> None:
        """Remove a file; nothing happens where there is none."""
        try:
            self._fs.rm_file(self._path(name))
        except FileNotFoundError:
            pass

    def names(self, folder: str) -> list[str]:
        """Names directly below `folder`, sorted, relative to it; empty where the folder is missing."""
        try:
            entries = self._fs.ls(self._path(folder), detail=False)
        except FileNotFoundError:
            return []
        # Object stores may list the folder's own marker, `trials/`, beside what is in it.
        found = [PurePosixPath(entry).name for entry in entries if not entry.endswith("/")]
        return sorted(name for name in found if not name.endswith(".partial"))

    def read_json(self, name: str) -> Any:
        return json.loads(self.read(name))

    def write_json(self, name: str, value: Any) -> None:
        """Strict JSON: a NaN becomes null before it gets here, or this raises ValueError."""
        self.write(name, json.dumps(value, indent=1, allow_nan=False).encode())


def _failures(fs: fsspec.AbstractFileSystem) -> tuple[type[Exception], ...]:
    """What a file system raises where it cannot be reached or used. S3's client has errors that are no OSError."""
    if "s3" not in fs.protocol:
        return (OSError,)
    from botocore.exceptions import BotoCoreError  # type: ignore[import-untyped]

    return OSError, BotoCoreError
