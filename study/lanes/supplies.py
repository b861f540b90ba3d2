"""The pack and the encoder weights that a node needs to train for a study, and how it gets them.

The driver has both in folders of its own and uploads them to the storage. A node that does not see these folders
fetches copies from there. One process fetches for all lanes of the node, and the others wait for it.
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
from study.spec import Spec
from study.store import Store, StoreError, packs, shipping
from study.trials.messages import LaneSettings, RemoteInputs

WEIGHTS = ".weights"
"""Folder of the storage for encoder weights, each set in `<digest of the files>/` (see study.store.shipping)."""


def publish(spec: Spec, storage: Store, packed: Pack, weights_dir: Path | None, data_dir: Path) -> RemoteInputs:
    """Upload everything that a node needs, and return where it is.

    Raises StoreError if the storage cannot be written.
    """
    packs.publish(storage, packed)
    files = tuple(sorted(_weights_files(spec, weights_dir)))
    name = _digest(weights_dir, files) if weights_dir else ""
    if files and weights_dir:
        shipping.send(storage, f"{WEIGHTS}/{name}", weights_dir, files)
    return RemoteInputs(storage.uri, spec.dataset, str(data_dir), spec.image_size, name, files)


def _digest(folder: Path, files: Sequence[str]) -> str:
    """Return a digest of the names and contents of these files. It differs if one of them is missing."""
    digest = hashlib.sha256()
    for file in files:
        content = (folder / file).read_bytes() if (folder / file).is_file() else b""
        digest.update(file.encode() + hashlib.sha256(content).digest())
    return digest.hexdigest()[:16]


def _weights_files(spec: Spec, weights_dir: Path | None) -> set[str]:
    """Return the names of the weights files in `weights_dir` that trials will load.

    A library that keeps its encoders' weights elsewhere has no file there.
    """
    if weights_dir is None:
        return set()
    names = {models.weights_file(model) for model in spec.models} - {None}
    return {str(name) for name in names if (weights_dir / str(name)).is_file()}


def pack_here(settings: LaneSettings) -> Pack:
    """Return the study's pack on this node: its own, or a copy from the storage, or one made from data on this node.

    Raises DataError if none of these is possible.
    """
    folder, elsewhere = Path(settings.pack_folder), settings.elsewhere
    if elsewhere is None:
        return pack.open_pack(folder)
    with contextlib.suppress(DataError):  # not there, or a damaged copy
        return pack.open_pack(folder)
    root, storage = pack.default_root(), _storage(settings, elsewhere)
    with _alone(root / f".{folder.name}.lock"):
        return packs.fetch(storage, folder.name, root) or _decode(elsewhere, folder.name, root)


def _decode(elsewhere: RemoteInputs, name: str, root: Path) -> Pack:
    try:
        dataset = data.load(elsewhere.dataset, Path(elsewhere.data_dir), download=False)
        packed = pack.build(dataset, elsewhere.image_size, root, progress=False)
    except DataError as error:
        raise DataError(f"{_no_copy(elsewhere)} has no pack {name}, and here is no data to make it: {error}") from error
    if packed.folder.name != name:
        raise DataError(f"{_no_copy(elsewhere)} has no pack {name}, and {elsewhere.data_dir} here holds other data")
    return packed


def _no_copy(elsewhere: RemoteInputs) -> str:
    return f"node {socket.gethostname()}: {elsewhere.storage_uri}"


def weights_here(settings: LaneSettings) -> Path | None:
    """Return the folder of encoder weights on this node; None if every encoder starts from scratch.

    Raises StoreError if neither this node nor the storage has the weights.
    """
    if settings.weights_dir is None:
        return None
    folder, elsewhere = Path(settings.weights_dir), settings.elsewhere
    if elsewhere is None or _digest(folder, elsewhere.files) == elsewhere.weights:
        return folder
    root = pack.default_root()
    with _alone(root / f".weights-{elsewhere.weights}.lock"):
        return _fetched(_storage(settings, elsewhere), elsewhere, root)


def _fetched(storage: Store, elsewhere: RemoteInputs, root: Path) -> Path:
    final = root / f"weights-{elsewhere.weights}"
    if final.is_dir():
        return final
    arriving = root / f".weights-{elsewhere.weights}"
    shutil.rmtree(arriving, ignore_errors=True)  # left by a process that was killed
    arriving.mkdir()
    try:
        if elsewhere.files and not shipping.receive(
            storage, f"{WEIGHTS}/{elsewhere.weights}", arriving, elsewhere.files
        ):
            raise StoreError(f"{storage.uri}/{WEIGHTS}/{elsewhere.weights}: not there; the study's next start sends it")
        return arriving.rename(final)
    finally:
        shutil.rmtree(arriving, ignore_errors=True)


def _storage(settings: LaneSettings, elsewhere: RemoteInputs) -> Store:
    return Store(elsewhere.storage_uri, settings.store_seconds)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Let one process of this node at a time run the code inside."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
