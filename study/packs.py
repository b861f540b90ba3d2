"""Packs in the store: decoded once, downloaded by every machine that needs them.

They lie below `<storage>/.packs/<dataset>-<size>-<key>/`, beside the studies, none of which begins with a dot. The key
is a hash of all that the pack depends on, so what is there never changes. The index, which has the checksums, is
written last: a pack whose index is there is complete.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from fsspec.callbacks import TqdmCallback

from seg import pack
from seg.pack import Pack
from seg.pack_files import ARRAYS, INDEX
from study.store import Store
from study.store_error import FAILURES, StoreError, reason

FOLDER = ".packs"
FILES = (*(f"{name}.npy" for name in ARRAYS), INDEX)


def publish(storage: Store, packed: Pack) -> int:
    """Bytes sent; none where it is there already. StoreError where the storage cannot be written."""
    name = packed.folder.name
    with storage.reached():
        if storage.exists(_at(name, INDEX)):
            return 0
        for file in FILES:
            storage.upload(_at(name, file), packed.folder / file, _bar(file))
    return sum((packed.folder / file).stat().st_size for file in FILES)


def fetch(storage: Store, name: str, root: Path) -> Pack | None:
    """The pack of that name, from `root` or from the storage: no data is needed. None where neither has a sound one."""
    folder = root / name
    if folder.is_dir():
        return pack.open_pack(folder)
    return pack.adopt(folder, obtain_from(storage))


def obtain_from(storage: Store, say: Callable[[str], None] = lambda line: print(line, file=sys.stderr)) -> pack.Obtain:
    """For seg.pack.build: downloads a published pack. Where that fails, `say` is told why, and it is built instead."""

    def obtain(name: str, folder: Path) -> bool:
        try:
            if not storage.exists(_at(name, INDEX)):
                return False
            began = time.monotonic()
            for file in FILES:
                storage.download(_at(name, file), folder / file, _bar(file))
        except FAILURES + (StoreError,) as error:  # noqa: RUF005 # mypy reads no starred tuple here
            say(f"{storage.uri}/{FOLDER}/{name}: not downloaded ({reason(error)}); decoding instead")
            return False
        size = sum((folder / file).stat().st_size for file in FILES)
        say(f"pack from {storage.uri}: {size / 1e6:.0f} MB in {time.monotonic() - began:.1f} s")
        return True

    return obtain


def _at(name: str, file: str) -> str:
    return f"{FOLDER}/{name}/{file}"


def _bar(file: str) -> TqdmCallback:
    return TqdmCallback(tqdm_kwargs={"desc": file, "unit": "B", "unit_scale": True, "disable": not sys.stderr.isatty()})
