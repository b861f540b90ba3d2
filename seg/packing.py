"""Making a pack's arrays: decode, resize, count."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from seg import pack_files, split
from seg.data.parallel import read_all
from seg.data.sample import DataError, Dataset, Sample
from seg.resample import resize_image, resize_mask

REDUCED = 2
"""A JPEG is decoded at a fraction of its size, but not below so many times the pack's: what is left to resizing smooths
over most of the difference. Of 318 photographs (COCO) at 64 pixels: 0.55 of 255 levels on average, 2.7 in the worst."""

Row = tuple[np.ndarray, np.ndarray, tuple[int, int]]
"""Image (S, S, 3), mask (S, S), and the mask file's height and width."""


class Packing:
    """One dataset on its way into a pack at `image_size` pixels.

    DataError where an id occurs twice, no image is left to train or to validate, or a file is unreadable."""

    def __init__(self, dataset: Dataset, image_size: int, progress: bool):
        self.dataset = dataset
        self.image_size = image_size
        self.progress = progress
        self.samples = sorted(dataset.samples, key=lambda sample: sample.id)
        self.splits = split.assign(self.samples)
        self._check()
        self.key = self._key()

    def _check(self) -> None:
        name, times = Counter(sample.id for sample in self.samples).most_common(1)[0] if self.samples else ("", 0)
        if times > 1:
            raise DataError(f"{self.dataset.name}: the id {name} occurs {times} times; rename or remove the others")
        for part in ("train", "val"):
            if part not in self.splits.values():
                raise DataError(
                    f"{self.dataset.name}: none of {len(self.samples)} images is left to {part}; add images"
                )

    def _key(self) -> str:
        """Hash of the files' contents and of everything else the arrays depend on."""
        self.digests = list(read_all(lambda sample: sample.digest(), self.samples, "hashing", self.progress))
        images = [(s.id, self.splits[s.id], digest) for s, digest in zip(self.samples, self.digests, strict=True)]
        told = [self.dataset.name, self.dataset.class_names, self.dataset.remark]
        content = [pack_files.FORMAT, *told, self.image_size, images]
        return hashlib.blake2b(json.dumps(content).encode(), digest_size=8).hexdigest()

    def write(self, folder: Path, known: Mapping[str, Row]) -> None:
        """Decode every sample into `folder`, but those `known` by their digest. DataError names the unreadable ones,
        all in one."""
        digest_of = {sample.id: digest for sample, digest in zip(self.samples, self.digests, strict=True)}

        def row(sample: Sample) -> Row:
            return known.get(digest_of[sample.id]) or self._decode(sample)

        class_pixels: list[list[int]] = []
        native_sizes_hw: list[tuple[int, int]] = []

        def pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for image_SS3, mask_SS, native_hw in read_all(row, self.samples, "packing", self.progress):
                native_sizes_hw.append(native_hw)
                pixels = np.bincount(mask_SS.ravel(), minlength=self.dataset.classes)
                class_pixels.append(pixels[: self.dataset.classes].tolist())
                yield image_SS3, mask_SS

        crc32 = pack_files.write(folder, pairs(), len(self.samples), self.image_size)
        pack_files.write_index(folder, self._index(native_sizes_hw, class_pixels), crc32)

    def _decode(self, sample: Sample) -> Row:
        image_HW3, mask_HW = self.dataset.read(sample, REDUCED * self.image_size)
        image_SS3, mask_SS = resize_image(image_HW3, self.image_size), resize_mask(mask_HW, self.image_size)
        return image_SS3, mask_SS, (mask_HW.shape[0], mask_HW.shape[1])

    def _index(self, native_sizes_hw: list[tuple[int, int]], class_pixels: list[list[int]]) -> dict[str, object]:
        return {
            "key": self.key,
            "dataset": self.dataset.name,
            "ids": [sample.id for sample in self.samples],
            "digests": self.digests,
            "splits": [self.splits[sample.id] for sample in self.samples],
            "native_sizes_hw": native_sizes_hw,
            "class_names": self.dataset.class_names,
            "class_pixels": class_pixels,
            "remark": self.dataset.remark,
            "synthetic": self.dataset.synthetic,
        }
