"""Folders of files in the store: sent once, fetched by every machine that needs them.

<place>/<SHA-256>-<file>   each file
<place>/manifest.json      size and SHA-256 of each

A file's name contains the hash of its content, so a stored file never changes. The manifest is written last: if it is
there, all files are.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fsspec.callbacks import Callback

from seg.cli import byte_progress
from study.store.names import is_file_name
from study.store.store import Store, StoreError

NAME = "manifest.json"


@dataclass(frozen=True)
class Item:
    """One file of a folder in the store, with its size and SHA-256."""

    file: str
    bytes: int
    sha256: str

    def __post_init__(self) -> None:
        """Raise ValueError if a field has the wrong form."""
        if not (isinstance(self.file, str) and is_file_name(self.file) and isinstance(self.bytes, int)):
            raise ValueError(f"{self.file!r} of {self.bytes!r} bytes")
        if not (isinstance(self.sha256, str) and re.fullmatch("[0-9a-f]{64}", self.sha256)):
            raise ValueError(f"{self.sha256!r} is no SHA-256")

    def below(self, place: str) -> str:
        """Return the file's name in the store. A file with other content has another name."""
        return f"{place}/{self.sha256[:16]}-{self.file}"

    def is_in(self, folder: Path) -> bool:
        """Whether the file in `folder` has this content."""
        return (folder / self.file).stat().st_size == self.bytes and _sha256(folder / self.file) == self.sha256


def of(folder: Path, files: Iterable[str]) -> list[Item]:
    return [Item(file, (folder / file).stat().st_size, _sha256(folder / file)) for file in files]


def encode(items: Sequence[Item]) -> bytes:
    return json.dumps({"files": [asdict(item) for item in items]}, indent=1).encode()


def read(storage: Store, place: str) -> list[Item] | None:
    """Return the items published at `place`, or None if there are none. Raises StoreError if the list is damaged."""
    try:
        content = storage.read(f"{place}/{NAME}")
    except FileNotFoundError:
        return None
    try:
        return [Item(**item) for item in json.loads(content)["files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{NAME} is damaged ({error}); publish it again") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def send(storage: Store, place: str, folder: Path, files: Collection[str]) -> int:
    """Send the files and return the bytes sent, 0 if all are already there. Raises StoreError if this fails."""
    items = of(folder, files)
    with storage.reached():
        if _complete(storage, place):
            return 0
        missing = [item for item in items if not storage.exists(item.below(place))]
        for item in missing:
            with _Bar(item.file) as bar:
                storage.upload(item.below(place), folder / item.file, bar)
        content = encode(items)
        storage.write(f"{place}/{NAME}", content)
    return sum(item.bytes for item in missing) + len(content)


def receive(storage: Store, place: str, folder: Path, expected: Collection[str]) -> int:
    """Download the files to `folder` and return their size in bytes, 0 if nothing is published.

    Raises StoreError if what is published is damaged, or holds other files than `expected`.
    """
    items = read(storage, place)
    if items is None:
        return 0
    if {item.file for item in items} != set(expected):
        raise StoreError(f"{NAME} names {len(items)} files, not those that belong there; publish it again")
    for item in items:
        with _Bar(item.file) as bar:
            storage.download(item.below(place), folder / item.file, bar)
        if not item.is_in(folder):
            raise StoreError(f"{item.file} is not what was published; delete that folder and publish it again")
    return sum(item.bytes for item in items)


def _complete(storage: Store, place: str) -> bool:
    """Whether everything is published. A damaged manifest counts as missing, so that it is written again."""
    try:
        items: list[Item] = read(storage, place) or []
    except StoreError:
        return False
    return bool(items) and all(storage.exists(item.below(place)) for item in items)


class _Bar(Callback):
    """A file's progress bar, which fsspec updates."""

    def __init__(self, file: str):
        super().__init__()
        self._progress = byte_progress()
        self._task = self._progress.add_task(file, total=None)
        self._progress.start()

    def call(self, hook_name: str | None = None, **_: object) -> None:
        self._progress.update(self._task, total=self.size, completed=self.value)

    def close(self) -> None:
        self._progress.stop()
