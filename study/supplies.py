"""What a node needs that trains for a study, and how it comes by it: the pack, and the encoder weights.

The driver has both in folders of its own. A node that does not see these fetches copies from the storage, where the
driver has put them: once for all its lanes, the others wait for the one that fetches.
"""

import contextlib
import fcntl
import hashlib
import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from seg import data, models, pack
from seg.data import DataError
from seg.pack import Pack
from study import packs, shipping
from study.messages import Elsewhere, LaneSettings
from study.spec import Spec
from study.store import Store, StoreError

WEIGHTS = ".weights"
"""Folder of the storage; below it, `<digest of the files>/`, see study.shipping."""


def publish(spec: Spec, storage: Store, packed: Pack, weights_dir: Path | None, data_dir: Path) -> Elsewhere:
    """Everything a node needs is in the storage then. StoreError where it cannot be written."""
    packs.publish(storage, packed)
    files = tuple(sorted(_weights_files(spec, weights_dir)))
    name = _digest(weights_dir, files) if weights_dir else ""
    if files and weights_dir:
        shipping.send(storage, f"{WEIGHTS}/{name}", weights_dir, files)
    return Elsewhere(storage.uri, spec.dataset, str(data_dir), spec.image_size, name, files)


def _digest(folder: Path, files: Sequence[str]) -> str:
    """Of the names and contents of these files; another one where one of them is missing."""
    digest = hashlib.sha256()
    for file in files:
        content = (folder / file).read_bytes() if (folder / file).is_file() else b""
        digest.update(file.encode() + hashlib.sha256(content).digest())
    return digest.hexdigest()[:16]


def _weights_files(spec: Spec, weights_dir: Path | None) -> set[str]:
    """Those that trials will load. A library that keeps its encoders' weights elsewhere has none there."""
    if weights_dir is None:
        return set()
    names = {models.weights_file(model) for model in spec.models} - {None}
    return {str(name) for name in names if (weights_dir / str(name)).is_file()}


def pack_here(settings: LaneSettings) -> Pack:
    """The study's pack on this node. DataError where neither this node nor the storage has it."""
    folder, elsewhere = Path(settings.pack_folder), settings.elsewhere
    if elsewhere is None:
        return pack.open_pack(folder)
    with contextlib.suppress(DataError):  # not there, or a damaged copy
        return pack.open_pack(folder)
    root, storage = pack.default_root(), _storage(settings, elsewhere)
    with _alone(root / f".{folder.name}.lock"):
        return packs.fetch(storage, folder.name, root) or _decode(elsewhere, folder.name, root)


def _decode(elsewhere: Elsewhere, name: str, root: Path) -> Pack:
    try:
        dataset = data.load(elsewhere.dataset, Path(elsewhere.data_dir), download=False)
        packed = pack.build(dataset, elsewhere.image_size, root, progress=False)
    except DataError as error:
        raise DataError(f"{_no_copy(elsewhere)} has no pack {name}, and here is no data to make it: {error}") from error
    if packed.folder.name != name:
        raise DataError(f"{_no_copy(elsewhere)} has no pack {name}, and {elsewhere.data_dir} here holds other data")
    return packed


def _no_copy(elsewhere: Elsewhere) -> str:
    return f"node {socket.gethostname()}: {elsewhere.storage_uri}"


def weights_here(settings: LaneSettings) -> Path | None:
    """The folder with the encoder weights on this node; None where every encoder starts from scratch. StoreError where
    neither this node nor the storage has them."""
    if settings.weights_dir is None:
        return None
    folder, elsewhere = Path(settings.weights_dir), settings.elsewhere
    if elsewhere is None or _digest(folder, elsewhere.files) == elsewhere.weights:
        return folder
    root = pack.default_root()
    with _alone(root / f".weights-{elsewhere.weights}.lock"):
        return _fetched(_storage(settings, elsewhere), elsewhere, root)


def _fetched(storage: Store, elsewhere: Elsewhere, root: Path) -> Path:
    final = root / f"weights-{elsewhere.weights}"
    if final.is_dir():
        return final
    arriving = root / f".weights-{elsewhere.weights}"
    shutil.rmtree(arriving, ignore_errors=True)  # of a process that was killed
    arriving.mkdir()
    try:
        if elsewhere.files and not shipping.receive(
            storage, f"{WEIGHTS}/{elsewhere.weights}", arriving, elsewhere.files
        ):
            raise StoreError(f"{storage.uri}/{WEIGHTS}/{elsewhere.weights}: not there; the study's next start sends it")
        return arriving.rename(final)
    finally:
        shutil.rmtree(arriving, ignore_errors=True)


def _storage(settings: LaneSettings, elsewhere: Elsewhere) -> Store:
    return Store(elsewhere.storage_uri, settings.store_seconds)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process of this node at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
