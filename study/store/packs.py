"""Packs in the store: decoded once, downloaded by every machine that needs them.

They are in `<storage>/.packs/<dataset>-<size>-<key>/`, beside the studies, whose names never begin with a dot. The key
is a hash of all that the pack depends on. So machines whose decoders differ in even one bit do not mix their files.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from seg import pack
from seg.data.sample import DataError
from seg.errors import redact
from seg.pack import Pack
from seg.pack.files import ARRAYS, INDEX
from study.store import shipping
from study.store.names import is_file_name
from study.store.retries import FAILURES, StoreError, reason
from study.store.store import Store

FOLDER = ".packs"
FILES = (*(f"{name}.npy" for name in ARRAYS), INDEX)


def publish(storage: Store, packed: Pack) -> int:
    """Send the pack and return the bytes sent, 0 if it is already there. Raises StoreError if this fails."""
    return shipping.send(storage, _place(packed.folder.name), packed.folder, FILES)


def fetch(storage: Store, name: str, root: Path) -> Pack | None:
    """Return the pack `<dataset>-<size>-<key>` from `root`, or download it from the storage to `root`.

    This does not need the data. None if neither place has a sound pack; stderr says why. Raises DataError if `root`
    cannot be written, and ValueError if `name` is not a pack's name.
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
    """Return a function for seg.pack.pack.build that downloads a published pack.

    It calls `say` with one line about the download, or about why the pack is not used.
    """

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
    """Return `name`. Raises ValueError if it cannot name a folder inside another."""
    if not is_file_name(name):
        raise ValueError(f"pack: {name!r} is no name of one; it is <dataset>-<size>-<key>")
    return name
