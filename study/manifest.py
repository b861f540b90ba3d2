"""What a folder of files in the store consists of: size and SHA-256 of each."""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from study.names import is_file_name
from study.store import Store, StoreError

NAME = "manifest.json"


@dataclass(frozen=True)
class Item:
    file: str
    bytes: int
    sha256: str

    def __post_init__(self) -> None:
        """ValueError where it is no such thing."""
        if not (isinstance(self.file, str) and is_file_name(self.file) and isinstance(self.bytes, int)):
            raise ValueError(f"{self.file!r} of {self.bytes!r} bytes")
        if not (isinstance(self.sha256, str) and re.fullmatch("[0-9a-f]{64}", self.sha256)):
            raise ValueError(f"{self.sha256!r} is no SHA-256")

    def below(self, place: str) -> str:
        """Its name in the store: a file of another content has another one."""
        return f"{place}/{self.sha256[:16]}-{self.file}"

    def is_in(self, folder: Path) -> bool:
        """Whether the file of `folder` has this content."""
        return (folder / self.file).stat().st_size == self.bytes and _sha256(folder / self.file) == self.sha256


def of(folder: Path, files: Iterable[str]) -> list[Item]:
    return [Item(file, (folder / file).stat().st_size, _sha256(folder / file)) for file in files]


def encode(items: Sequence[Item]) -> bytes:
    return json.dumps({"files": [asdict(item) for item in items]}, indent=1).encode()


def read(storage: Store, place: str) -> list[Item] | None:
    """Of what is published at `place`; None where there is nothing. StoreError where it is damaged."""
    try:
        content = storage.read(f"{place}/{NAME}")
    except FileNotFoundError:
        return None
    try:
        return [Item(**told) for told in json.loads(content)["files"]]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{NAME} is damaged ({error}); publish it again") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
