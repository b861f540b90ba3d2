"""The files of a pack, and the checks that tell a damaged one from a sound one.

images.npy   (N, S, S, 3) uint8
masks.npy    (N, S, S) uint8
index.json   the description of both, the CRC-32 of both arrays, and its own checksum
"""

import hashlib
import json
import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

FORMAT = 4
"""The version of the files' layout and of the resampling.

Raise it when either changes: older packs are then built again.
"""
ARRAYS = ("images", "masks")
INDEX = "index.json"
_CHUNK_BYTES = 1 << 24


class Damaged(Exception):
    """The error for a damaged file. The message says which file, and how it differs from what was written."""


def write(folder: Path, pairs: Iterable[tuple[np.ndarray, np.ndarray]], count: int, size: int) -> dict[str, int]:
    """Write `count` pairs of an image (S, S, 3) and a mask (S, S) as they come; return the CRC-32 of each array.

    It uses plain writes, not a memory map: a full disk is then an OSError, not a SIGBUS.
    """
    crc32 = dict.fromkeys(ARRAYS, 0)
    shapes = ((count, size, size, 3), (count, size, size))
    with (folder / "images.npy").open("wb") as images, (folder / "masks.npy").open("wb") as masks:
        files = (images, masks)
        for file, shape in zip(files, shapes, strict=True):
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
        for pair in pairs:
            for name, file, array in zip(ARRAYS, files, pair, strict=True):
                content = np.ascontiguousarray(array, dtype=np.uint8).tobytes()
                crc32[name] = zlib.crc32(content, crc32[name])
                file.write(content)
        for file in files:
            file.flush()
            os.fsync(file.fileno())
    return crc32


def write_index(folder: Path, index: dict[str, Any], crc32: dict[str, int]) -> None:
    """Write the last file of a pack, and sync its folder to the disk."""
    content = {**index, "format": FORMAT, "crc32": crc32}
    with (folder / INDEX).open("w", encoding="utf-8") as file:
        json.dump({**content, "checksum": _checksum(content)}, file)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Sync the folder's list of names to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(folder: Path, verify: bool) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """Return the index and the memory-mapped images and masks. `verify` reads every byte once to compare checksums."""
    index = _read_index(folder)
    images, masks = (_map(folder / f"{name}.npy") for name in ARRAYS)
    if not len(images) == len(masks) == len(index["ids"]):
        raise Damaged(f"{len(index['ids'])} ids for {len(images)} images and {len(masks)} masks")
    for name, array in zip(ARRAYS, (images, masks), strict=True):
        if verify and _crc32(array) != index["crc32"][name]:
            raise Damaged(f"{name}.npy: its checksum differs from what was written")
    return index, images, masks


def _read_index(folder: Path) -> dict[str, Any]:
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        checksum = index.pop("checksum")
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise Damaged(f"{INDEX}: {error}") from error
    if checksum != _checksum(index):
        raise Damaged(f"{INDEX}: its checksum differs from what was written")
    if index["format"] != FORMAT:
        raise Damaged(f"{INDEX}: format {index['format']}, this version reads {FORMAT}")
    return index


def _map(path: Path) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise Damaged(f"{path.name}: {error}") from error
    if not isinstance(array, np.memmap) or array.dtype != np.uint8 or not array.flags.c_contiguous:
        raise Damaged(f"{path.name}: not an array of bytes")
    return array


def _crc32(array: np.ndarray) -> int:
    content = array.reshape(-1)
    crc32 = 0
    for start in range(0, content.size, _CHUNK_BYTES):
        crc32 = zlib.crc32(content[start : start + _CHUNK_BYTES].data, crc32)
    return crc32


def _checksum(content: dict[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True).encode()
    return hashlib.blake2b(canonical, digest_size=16).hexdigest()
