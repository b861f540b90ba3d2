"""A pack: a dataset decoded and resized once, memory-mapped by every process of a node.

A pack lives in `<root>/<dataset>-<size>-<key>/` (seg.pack.files). The key is a hash of everything its arrays depend on,
so a pack is never out of date: changed data has another key. A pack is written to a folder beside its place, which is
renamed when it is complete.
"""

import os
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seg.data import split
from seg.data.sample import DataError, Dataset
from seg.pack import files
from seg.pack.packing import Packing, Row

ABANDONED_SECONDS = 24 * 3600
"""Seconds after which a half-written folder counts as left behind by a killed process."""
INSTALL_ATTEMPTS = 5

Obtain = Callable[[str, Path], bool]
"""A function that puts the files of the named pack into the folder; it returns False if it does not have them."""


@dataclass(frozen=True)
class Pack:
    """N images and masks at S×S pixels, ordered by id."""

    folder: Path
    key: str
    dataset: str
    images_NHW3: np.ndarray
    """The images: uint8, memory-mapped, read-only."""
    masks_NHW: np.ndarray
    """The masks: uint8 class indices, 255 = ignored; memory-mapped, read-only."""
    ids: tuple[str, ...]
    splits: tuple[str, ...]
    """The split of each image: `train`, `val` or `test` (seg.data.split)."""
    native_sizes_hw: np.ndarray
    """The height and width of each source image, in pixels: (N, 2) int64."""
    class_names: tuple[str, ...]
    class_pixels_NC: np.ndarray
    """The number of pixels of each class in each image, without ignored ones: (N, classes) int64."""
    remark: str = ""
    synthetic: bool = False
    digests: tuple[str, ...] = ()
    """The digest of each sample, see Sample.digest in seg.data.sample."""

    @property
    def image_size(self) -> int:
        return self.images_NHW3.shape[1]

    @property
    def classes(self) -> int:
        return len(self.class_names)

    @property
    def class_frequencies(self) -> np.ndarray:
        """The share of each class in the pixels of the training images: (classes,) float64."""
        pixels = self.class_pixels_NC[self.indices("train")].sum(0)
        return pixels / max(pixels.sum(), 1)

    def indices(self, name: str) -> np.ndarray:
        """Return the positions (int64, ascending) of the images of the split `train`, `val` or `test`."""
        if name not in split.SPLITS:
            raise ValueError(f"split: {name!r} is not known; choose from {', '.join(split.SPLITS)}")
        return np.flatnonzero(np.asarray(self.splits) == name)


def default_root() -> Path:
    """Return the folder of packs: $STUDY_CACHE, else ~/.cache/segstudy/packs."""
    return Path(os.environ.get("STUDY_CACHE") or Path.home() / ".cache" / "segstudy" / "packs")


def open_pack(folder: Path | str, verify: bool = True) -> Pack:
    """Open the pack in `folder`. Raises DataError if it is missing, incomplete or damaged.

    `verify` reads the files once to compare checksums. A process that got the folder from the one that built or
    verified it may leave that out.
    """
    folder = Path(folder)
    try:
        index, images_NHW3, masks_NHW = files.read(folder, verify)
    except files.Damaged as error:
        raise DataError(f"{folder}: not a sound pack ({error}); delete it, it is built again from the data") from error
    return Pack(
        folder=folder,
        key=index["key"],
        dataset=index["dataset"],
        images_NHW3=images_NHW3,
        masks_NHW=masks_NHW,
        ids=tuple(index["ids"]),
        splits=tuple(index["splits"]),
        native_sizes_hw=np.array(index["native_sizes_hw"], np.int64).reshape(-1, 2),
        class_names=tuple(index["class_names"]),
        class_pixels_NC=np.array(index["class_pixels"], np.int64).reshape(-1, len(index["class_names"])),
        remark=index["remark"],
        synthetic=index["synthetic"],
        digests=tuple(index["digests"]),
    )


def build(
    dataset: Dataset,
    image_size: int,
    root: Path | str | None = None,
    progress: bool = True,
    obtain: Obtain = lambda name, folder: False,
) -> Pack:
    """Return the pack of `dataset` at `image_size` pixels; build it unless a sound one exists or `obtain` has it.

    `root` defaults to default_root(). Several processes may build at once: each ends with a sound pack.
    Raises one DataError for all unreadable samples, or if the pack cannot be written.
    """
    root = Path(root) if root is not None else default_root()
    packing = Packing(dataset, image_size, progress)
    folder = root / f"{dataset.name}-{image_size}-{packing.key}"
    if folder.exists():
        try:
            return open_pack(folder)
        except DataError as error:
            print(f"building it again: {error}", file=sys.stderr)
    return adopt(folder, obtain) or _build(packing, folder)


def adopt(folder: Path, obtain: Obtain) -> Pack | None:
    """Return the pack that `obtain` brings to `folder`; None if it has no such pack or brings an unsound one.

    Raises DataError if it cannot be written.
    """
    with _beside_for_writing(folder) as partial:
        if not obtain(folder.name, partial):
            return None
        try:
            key = open_pack(partial).key
        except DataError as error:
            key = str(error.__cause__)
        if not folder.name.endswith(f"-{key}"):
            print(f"{folder.name}: what was downloaded is no such pack and not used ({key})", file=sys.stderr)
            return None
        return _install(partial, folder)


@contextmanager
def _beside_for_writing(folder: Path) -> Iterator[Path]:
    """Yield a new folder beside `folder`, and remove it afterwards unless it was renamed.

    Raises DataError if nothing can be written there.
    """
    partial = _beside(folder, "partial")
    try:
        partial.mkdir(parents=True)
        _remove_abandoned(folder)
        yield partial
    except OSError as error:
        problem = f"the pack cannot be written ({error.strerror or error})"
        raise DataError(f"{folder.parent}: {problem}; name another folder in STUDY_CACHE") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _build(packing: Packing, folder: Path) -> Pack:
    with _beside_for_writing(folder) as partial:
        started = time.monotonic()
        known = _known(packing, folder)
        packing.write(partial, known)
        if packing.progress:
            seconds = time.monotonic() - started
            taken = f", {len(known)} of them from an earlier pack" if known else ""
            print(f"packed {len(packing.samples)} images in {seconds:.1f} s{taken}: {folder}", file=sys.stderr)
        return _install(partial, folder)


def _known(packing: Packing, folder: Path) -> dict[str, Row]:
    """Return the rows that an earlier pack beside this one already has, by digest.

    An example is a pack of the same data before images were added. Of several packs, the one with the most rows is
    used.
    """
    wanted, best = set(packing.digests), dict[str, Row]()
    for other in sorted(folder.parent.glob(f"{packing.dataset.name}-{packing.image_size}-*")):
        try:
            earlier = open_pack(other, verify=False)
            if earlier.class_names != tuple(packing.dataset.class_names):
                continue
            if len(wanted & set(earlier.digests)) > len(best):
                best = _rows(open_pack(other), wanted)
        except DataError:
            continue
    return best


def _rows(pack: Pack, wanted: set[str]) -> dict[str, Row]:
    return {
        digest: (image, mask, (int(height), int(width)))
        for digest, image, mask, (height, width) in zip(
            pack.digests, pack.images_NHW3, pack.masks_NHW, pack.native_sizes_hw, strict=True
        )
        if digest in wanted
    }


def _install(partial: Path, folder: Path) -> Pack:
    """Rename `partial` to `folder`, unless another process was first and left a sound pack."""
    for _ in range(INSTALL_ATTEMPTS):
        try:
            os.rename(partial, folder)
            files.sync_folder(folder.parent)
        except OSError:  # a folder of that name has appeared
            if not folder.is_dir():
                raise
        try:
            return open_pack(folder)
        except DataError:
            _discard(folder)
    raise DataError(f"{folder}: damaged again after {INSTALL_ATTEMPTS} attempts; look at the disk")


def _discard(folder: Path) -> None:
    """Rename the folder and then remove it, so that no other process finds half of it."""
    aside = _beside(folder, "damaged")
    try:
        os.rename(folder, aside)
    except FileNotFoundError:
        return  # another process was faster
    shutil.rmtree(aside, ignore_errors=True)


def _beside(folder: Path, purpose: str) -> Path:
    return folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}.{purpose}")


def _remove_abandoned(folder: Path) -> None:
    for other in folder.parent.glob(f"{folder.name}.*.*"):
        with suppress(FileNotFoundError):  # another process has just renamed its folder
            if time.time() - other.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(other, ignore_errors=True)
