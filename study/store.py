"""Where a study lives: bytes and JSON under one fsspec URI (a local folder, s3://bucket/prefix, ...).

Every write is all or nothing: on a local disk through a temporary file and a rename, on an object
store because an upload appears only when complete. A reader never sees half an object.
"""

import json
import os
import uuid
from pathlib import PurePosixPath
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem


class Store:
    """Files below one URI, named by their path relative to it."""

    def __init__(self, uri: str):
        self.uri = str(uri).rstrip("/")
        self._fs, self._root = fsspec.core.url_to_fs(self.uri)
        self._local = isinstance(self._fs, LocalFileSystem)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def exists(self, name: str) -> bool:
        return self._fs.exists(self._path(name))

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
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)

    def delete(self, name: str) -> None:
        """Remove a file; nothing happens where there is none."""
        try:
            self._fs.rm_file(self._path(name))
        except FileNotFoundError:
            pass

    def names(self, folder: str) -> list[str]:
        """Names directly below `folder`, sorted, relative to it; empty where the folder is missing."""
        self._fs.invalidate_cache()
        try:
            entries = self._fs.ls(self._path(folder), detail=False)
        except FileNotFoundError:
            return []
        return sorted(PurePosixPath(entry).name for entry in entries if not entry.endswith(".partial"))

    def read_json(self, name: str) -> Any:
        return json.loads(self.read(name))

    def write_json(self, name: str, value: Any) -> None:
        """Strict JSON: a NaN becomes null before it gets here, or this raises ValueError."""
        self.write(name, json.dumps(value, indent=1, allow_nan=False).encode())
