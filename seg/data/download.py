"""The download of a dataset's archives into its folder: all of them or nothing, and resumed after an interruption."""

import fcntl
import gzip
import hashlib
import os
import shutil
import sys
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from typing import IO

from seg.cli import byte_progress
from seg.data.sample import MissingData

TIMEOUT_SECONDS = 30
CHUNK_BYTES = 1 << 20
ATTEMPTS = 5
"""The most attempts at one download; each resumes after the last byte that arrived.

An attempt that cannot reach the server is the last one.
"""
PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class Archive:
    """A zip or tar file at an address."""

    address: str
    folder: str = ""
    """The folder of the dataset that receives the files.

    The archive's own folders are dropped; if this is an empty string, they are kept.
    """
    md5: str = ""
    """The MD5 of the file, if its publisher states it."""

    @property
    def name(self) -> str:
        return PurePosixPath(self.address).name


def fetch(dataset: str, archives: Sequence[Archive], root: Path, allowed: bool, by_hand: str) -> None:
    """Download a dataset into `root`.

    Raises MissingData if that is not allowed or fails; the error says what to do by hand.
    """
    if not allowed:
        raise MissingData(f"{root}: the dataset {dataset} is not there; let it be downloaded, or {by_hand}")
    try:
        fetch_archives(archives, root)
    except OSError as error:
        raise MissingData(f"{root}: {dataset} is not there and not downloaded ({error}); {by_hand}") from error


def fetch_archives(archives: Sequence[Archive], root: Path) -> None:
    """Unpack each archive into `root`, which appears by one rename once everything is unpacked.

    After an interruption, the files that arrived stay in `<root>.download` and are not downloaded again. If another
    process is already downloading, this one waits until it is done. Raises OSError with the address that could not be
    downloaded.
    """
    store = root.with_name(f"{root.name}.download")
    with _lock_file(store) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.is_dir() or not any(root.iterdir()):
            _fetch_all(archives, store, root)
        shutil.rmtree(store, ignore_errors=True)


def _lock_file(store: Path) -> IO[bytes]:
    while True:
        store.mkdir(parents=True, exist_ok=True)
        try:
            return (store / "lock").open("ab")
        except FileNotFoundError:
            continue  # another process has just finished and removed the folder


def _fetch_all(archives: Sequence[Archive], store: Path, root: Path) -> None:
    unpacked = store / "unpacked"
    shutil.rmtree(unpacked, ignore_errors=True)  # left by a run that was killed
    try:
        for archive in archives:
            _download(archive, store / archive.name)
            _unpack(store / archive.name, unpacked, archive.folder)
        if root.is_dir():
            root.rmdir()  # it was empty; raises OSError if files have appeared since
        os.replace(unpacked, root)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


def _download(archive: Archive, path: Path) -> None:
    """Download the archive to `path`, which exists afterwards only if every byte has arrived."""
    if path.exists():
        return
    with path.with_name(f"{path.name}.partial").open("ab") as partial:
        for attempt in range(ATTEMPTS):
            before = partial.tell()
            try:
                _receive(archive.address, partial)
                break
            except (OSError, HTTPException) as error:
                unreachable = isinstance(error, urllib.error.URLError) and partial.tell() == before
                if unreachable or attempt == ATTEMPTS - 1:
                    raise OSError(f"{archive.address}: {error}") from error
                time.sleep(PAUSE_SECONDS)
        partial.flush()
        _check_md5(archive, Path(partial.name))
        os.replace(partial.name, path)


def _receive(address: str, partial: IO[bytes]) -> None:
    """Append the missing bytes to `partial`.

    The download restarts if the server does not support ranges or its file has changed.
    """
    etag = Path(f"{partial.name}.etag")
    have = partial.seek(0, os.SEEK_END)
    headers = {"Range": f"bytes={have}-", "If-Range": etag.read_text()} if have and etag.exists() else {}
    try:
        answer = urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        partial.truncate(0)  # the server has nothing after these bytes, and they may not be its file
        etag.unlink(missing_ok=True)
        raise OSError("the server has nothing more of it") from error
    with answer:
        if answer.status != HTTPStatus.PARTIAL_CONTENT:
            have = 0
            partial.truncate(0)
            etag.write_text(answer.headers.get("ETag") or answer.headers.get("Last-Modified") or "")
        size_bytes = have + int(answer.headers.get("Content-Length") or 0)
        name = PurePosixPath(address).name
        if not sys.stderr.isatty():
            print(f"downloading {name} ({size_bytes / 1e6:.0f} MB)", file=sys.stderr)
        with byte_progress() as bar:
            task = bar.add_task(name, total=size_bytes or None, completed=have)
            while chunk := answer.read(CHUNK_BYTES):
                bar.advance(task, partial.write(chunk))
    partial.flush()
    arrived = os.fstat(partial.fileno()).st_size
    if size_bytes > have and arrived != size_bytes:
        raise OSError(f"{arrived} of {size_bytes} bytes arrived")
    etag.unlink(missing_ok=True)


def _check_md5(archive: Archive, path: Path) -> None:
    if not archive.md5:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found != archive.md5:
        path.unlink()
        raise OSError(f"{archive.address}: is damaged: its MD5 is {found}, not {archive.md5}")


def _unpack(archive: Path, root: Path, folder: str) -> None:
    """Unpack the regular files of `archive`. Raises OSError if a file would lie outside `root`."""
    root.mkdir(parents=True, exist_ok=True)
    try:
        for name, source in _members(archive):
            path = PurePosixPath(name)
            if path.name.startswith(".") or "__MACOSX" in path.parts:
                continue
            if path.is_absolute() or ".." in path.parts:
                raise OSError(f"{archive.name} is damaged: it holds {name}, which lies outside")
            target = root / folder / path.name if folder else root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with source, target.open("wb") as file:
                shutil.copyfileobj(source, file)
    except (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        archive.unlink()
        raise OSError(f"{archive.name} is damaged: {str(error).splitlines()[0]}; it was removed, try again") from error


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as content:
            for member in content.infolist():
                if not member.is_dir():
                    yield member.filename, content.open(member)
    else:
        with tarfile.open(archive) as tape:
            for entry in tape:
                source = tape.extractfile(entry) if entry.isreg() else None
                if source is not None:
                    yield entry.name, source
