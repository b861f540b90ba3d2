"""Folders of files in the store: sent once, fetched by every machine that needs them.

<place>/<SHA-256>-<file>   each file
<place>/manifest.json      size and SHA-256 of each

A file's name there is one of its content: what lies there never changes. The manifest comes last: where it is, all is.
"""

import sys
from collections.abc import Collection
from pathlib import Path

from fsspec.callbacks import TqdmCallback

from study import manifest
from study.manifest import Item
from study.store import Store, StoreError


def send(storage: Store, place: str, folder: Path, files: Collection[str]) -> int:
    """Bytes sent; none where all is there already. StoreError where the storage cannot be written."""
    items = manifest.of(folder, files)
    with storage.reached():
        if _complete(storage, place):
            return 0
        missing = [item for item in items if not storage.exists(item.below(place))]
        for item in missing:
            with _bar(item.file) as bar:
                storage.upload(item.below(place), folder / item.file, bar)
        content = manifest.encode(items)
        storage.write(f"{place}/{manifest.NAME}", content)
    return sum(item.bytes for item in missing) + len(content)


def receive(storage: Store, place: str, folder: Path, expected: Collection[str]) -> int:
    """Bytes that are in `folder` then; 0 where nothing is published. StoreError where it is damaged, or holds other
    files than `expected`."""
    items = manifest.read(storage, place)
    if items is None:
        return 0
    if {item.file for item in items} != set(expected):
        raise StoreError(f"{manifest.NAME} names {len(items)} files, not those that belong there; publish it again")
    for item in items:
        with _bar(item.file) as bar:
            storage.download(item.below(place), folder / item.file, bar)
        if not item.is_in(folder):
            raise StoreError(f"{item.file} is not what was published; delete that folder and publish it again")
    return sum(item.bytes for item in items)


def _complete(storage: Store, place: str) -> bool:
    """A damaged manifest is as good as none: it is written again."""
    try:
        items: list[Item] = manifest.read(storage, place) or []
    except StoreError:
        return False
    return bool(items) and all(storage.exists(item.below(place)) for item in items)


def _bar(file: str) -> TqdmCallback:
    shown = {"unit": "B", "unit_scale": True, "leave": False, "disable": not sys.stderr.isatty()}
    return TqdmCallback(tqdm_kwargs={"desc": file, **shown})
