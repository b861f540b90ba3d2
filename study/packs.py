"""Packs in the store: decoded once, downloaded by every machine that needs them.

They lie below `<storage>/.packs/<dataset>-<size>-<key>/`, beside the studies, none of which begins with a dot:

<SHA-256>-<file>   each file of the pack (seg.pack_files)
manifest.json      size and SHA-256 of each

The key is a hash of all that the pack depends on, and a file's name one of its content: what lies there never changes,
and machines whose decoders differ in a bit do not mix their files. The manifest comes last: where it is, all is.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from fsspec.callbacks import TqdmCallback

from seg import pack
from seg.data.sample import DataError
from seg.pack import Pack
from study import pack_manifest
from study.names import is_file_name
from study.pack_manifest import Item
from study.redact import redact
from study.store import Store
from study.store_error import FAILURES, StoreError, reason

FOLDER = ".packs"


def publish(storage: Store, packed: Pack) -> int:
    """Bytes sent; none where all is there already. StoreError where the storage cannot be written."""
    place = _place(packed.folder.name)
    items = pack_manifest.of(packed.folder)
    with storage.reached():
        if _complete(storage, place):
            return 0
        missing = [item for item in items if not storage.exists(item.below(place))]
        for item in missing:
            with _bar(item.file) as bar:
                storage.upload(item.below(place), packed.folder / item.file, bar)
        manifest = pack_manifest.encode(items)
        storage.write(f"{place}/{pack_manifest.NAME}", manifest)
    return sum(item.bytes for item in missing) + len(manifest)


def fetch(storage: Store, name: str, root: Path) -> Pack | None:
    """The pack `<dataset>-<size>-<key>`, from `root` or from the storage into it: no data is needed.

    None where neither has a sound one; stderr says why. DataError where `root` cannot be written, ValueError where
    `name` is none.
    """
    folder = root / _checked(name)
    try:
        return pack.open_pack(folder)
    except DataError:
        return pack.adopt(folder, obtain_from(storage, otherwise="there is no other copy here"))


def obtain_from(
    storage: Store,
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
    otherwise: str = "decoding instead",
) -> pack.Obtain:
    """For seg.pack.build: downloads a published pack. `say` is told of it, in a line, or why it is not used."""

    def obtain(name: str, folder: Path) -> bool:
        began = time.monotonic()
        try:
            size = _download(storage, name, folder)
        except FAILURES + (StoreError,) as error:  # noqa: RUF005 # mypy reads no starred tuple here
            say(redact(f"{storage.uri}/{_place(name)}: not used ({reason(error)}); {otherwise}"))
            return False
        if size:
            say(f"pack from {redact(storage.uri)}: {size / 1e6:.0f} MB in {time.monotonic() - began:.1f} s")
        return size > 0

    return obtain


def _download(storage: Store, name: str, folder: Path) -> int:
    """Bytes that are in `folder` then; 0 where no such pack is published. StoreError where it is damaged."""
    place = _place(name)
    items = pack_manifest.read(storage, place)
    for item in items:
        with _bar(item.file) as bar:
            storage.download(item.below(place), folder / item.file, bar)
        if not item.is_in(folder):
            raise StoreError(f"{item.file} is not what was published; delete that folder and publish it again")
    return sum(item.bytes for item in items)


def _complete(storage: Store, place: str) -> bool:
    """A damaged manifest is as good as none: it is written again."""
    try:
        items: list[Item] = pack_manifest.read(storage, place)
    except StoreError:
        return False
    return bool(items) and all(storage.exists(item.below(place)) for item in items)


def _place(name: str) -> str:
    return f"{FOLDER}/{_checked(name)}"


def _checked(name: str) -> str:
    """ValueError where `name` is not that of a folder in another."""
    if not is_file_name(name):
        raise ValueError(f"pack: {name!r} is no name of one; it is <dataset>-<size>-<key>")
    return name


def _bar(file: str) -> TqdmCallback:
    shown = {"unit": "B", "unit_scale": True, "leave": False, "disable": not sys.stderr.isatty()}
    return TqdmCallback(tqdm_kwargs={"desc": file, **shown})
