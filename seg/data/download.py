"""Download zip archives and unpack them into a dataset's folder, all of it or none."""

import os
import shutil
import sys
import urllib.request
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from tqdm import tqdm

TIMEOUT_SECONDS = 30
CHUNK_BYTES = 1 << 20


def fetch_archives(addresses: Sequence[str], root: Path) -> None:
    """Unpack each archive into the folder of `root` that bears the archive's name.

    `root` appears by one rename once everything is unpacked. What is already downloaded stays in
    `<root>.download` when this is interrupted, and is not downloaded again.
    OSError says which address could not be had.
    """
    store = root.with_name(f"{root.name}.download")
    unpacked = store / f"unpacked-{os.getpid()}"
    store.mkdir(parents=True, exist_ok=True)
    try:
        for address in addresses:
            archive = store / PurePosixPath(address).name
            if not archive.exists():
                _fetch(address, archive)
            _unpack(archive, unpacked / archive.stem)
        os.replace(unpacked, root)
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
    shutil.rmtree(store, ignore_errors=True)


def _fetch(address: str, archive: Path) -> None:
    """`archive` exists afterwards only if every byte has arrived."""
    partial = archive.with_name(f"{archive.name}.{os.getpid()}.partial")
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_SECONDS) as response, partial.open("wb") as file:
            size_bytes = int(response.headers.get("Content-Length") or 0)
            with _bar(archive.name, size_bytes) as bar:
                while chunk := response.read(CHUNK_BYTES):
                    bar.update(file.write(chunk))
        if size_bytes and partial.stat().st_size != size_bytes:
            raise OSError(f"{partial.stat().st_size} of {size_bytes} bytes arrived")
        os.replace(partial, archive)
    except OSError as error:
        raise OSError(f"{address}: {error}") from error
    finally:
        partial.unlink(missing_ok=True)


def _bar(name: str, size_bytes: int) -> tqdm:
    if not sys.stderr.isatty():
        print(f"downloading {name} ({size_bytes / 1e6:.0f} MB)", file=sys.stderr)
    return tqdm(total=size_bytes or None, desc=name, unit="B", unit_scale=True, disable=None)


def _unpack(archive: Path, folder: Path) -> None:
    """Files only, without the folders inside the archive: their depth differs from archive to archive."""
    folder.mkdir(parents=True)
    try:
        with zipfile.ZipFile(archive) as content:
            for member in content.infolist():
                name = PurePosixPath(member.filename).name
                if member.is_dir() or name.startswith(".") or member.filename.startswith("__MACOSX"):
                    continue
                with content.open(member) as source, (folder / name).open("wb") as target:
                    shutil.copyfileobj(source, target)
    except zipfile.BadZipFile as error:
        archive.unlink()
        raise OSError(f"{archive.name} is damaged: {error}") from error
