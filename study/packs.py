"""Packs in the store: decoded once, downloaded by every machine that needs them.

They lie below `<storage>/.packs/<dataset>-<size>-<key>/`, beside the studies, none of which begins with a dot. The key
is a hash of all that the pack depends on; machines whose decoders differ in a bit do not mix their files.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from seg import pack
from seg.data.sample import DataError
from seg.pack import Pack
from seg.pack_files import ARRAYS, INDEX
from study import shipping
from study.names import is_file_name
from study.redact import redact
from study.store import Store
from study.store_error import FAILURES, StoreError, reason

FOLDER = ".packs"
FILES = (*(f"{name}.npy" for name in ARRAYS), INDEX)


def publish(storage: Store, packed: Pack) -> int:
    """Bytes sent; none where all is there already. StoreError where the storage cannot be written."""
    return shipping.send(storage, _place(packed.folder.name), packed.folder, FILES)


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
            size = shipping.receive(storage, _place(name), folder, FILES)
        except FAILURES + (StoreError,) as error:  # noqa: RUF005 # mypy reads no starred tuple here
            say(redact(f"{storage.uri}/{_place(name)}: not used ({reason(error)}); {otherwise}"))
            return False
        if size:
            say(f"pack from {redact(storage.uri)}: {size / 1e6:.0f} MB in {time.monotonic() - began:.1f} s")
        return size > 0

    return obtain


def _place(name: str) -> str:
    return f"{FOLDER}/{_checked(name)}"


def _checked(name: str) -> str:
    """ValueError where `name` is not that of a folder in another."""
    if not is_file_name(name):
        raise ValueError(f"pack: {name!r} is no name of one; it is <dataset>-<size>-<key>")
    return name
