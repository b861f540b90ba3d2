"""The making of a pack's arrays: decode, resize, count."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from seg.data import split
from seg.data.image_file import read_all
from seg.data.sample import DataError, Dataset, Sample
from seg.pack import files

_TIE_BREAK = 1e-4
"""The vote of the middle pixel: below any real difference of two shares, above their rounding."""


def resize_image(image_HW3: np.ndarray, size: int) -> np.ndarray:
    """Resize (H, W, 3) uint8 to (size, size, 3) uint8: bilinear, with a wider filter for shrinking (antialiasing)."""
    return np.asarray(Image.fromarray(image_HW3).resize((size, size), Image.Resampling.BILINEAR))


def resize_mask(mask_HW: np.ndarray, size: int) -> np.ndarray:
    """Resize (H, W) uint8 class indices to (size, size) by a vote of the source pixels.

    Each new pixel takes the class that most of its source pixels have. Nearest-neighbour would let one source pixel in
    (H/size)² decide, which frays borders and loses thin parts. Interpolated indices would invent classes between two
    others. 255 votes as one more class.

    A tie goes to the class of the source pixel in the middle. Ties are common along borders when a size is halved. If
    the lower class won them, every lesion would become smaller: a 4100-pixel disc by 31 pixels at 256 -> 128.
    """
    classes = np.unique(mask_HW)
    if len(classes) == 1:
        return np.full((size, size), classes[0], np.uint8)
    middle_SS = np.asarray(Image.fromarray(mask_HW).resize((size, size), Image.Resampling.NEAREST))
    votes = [_share(mask_HW == c, size) + _TIE_BREAK * (middle_SS == c) for c in classes]
    return classes[np.argmax(votes, axis=0)]


def _share(indicator_HW: np.ndarray, size: int) -> np.ndarray:
    """Return the share of each new pixel's source pixels that are set: (size, size) float32, as 8 bits would round."""
    image = Image.fromarray(indicator_HW.astype(np.float32))
    return np.asarray(image.resize((size, size), Image.Resampling.BOX))


REDUCED = 2
"""The smallest size at which a JPEG is decoded, as a multiple of the pack's size.

Resizing from there smooths over most of the difference from a full decode. Over 318 photographs (COCO) at 64 pixels,
the difference is 0.55 of 255 levels on average and 2.7 in the worst.
"""

Row = tuple[np.ndarray, np.ndarray, tuple[int, int]]
"""An image (S, S, 3), its mask (S, S), and the mask file's height and width."""


class Packing:
    """A dataset on its way into a pack at `image_size` pixels.

    Raises DataError if an id occurs twice, no image is left to train or to validate, or a file is unreadable.
    """

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
        """Return a hash of the files' contents and of everything else the arrays depend on."""
        self.digests = list(read_all(lambda sample: sample.digest(), self.samples, "hashing", self.progress))
        images = [(s.id, self.splits[s.id], digest) for s, digest in zip(self.samples, self.digests, strict=True)]
        about = [self.dataset.name, self.dataset.class_names, self.dataset.remark]
        content = [files.FORMAT, *about, self.image_size, images]
        return hashlib.blake2b(json.dumps(content).encode(), digest_size=8).hexdigest()

    def write(self, folder: Path, known: Mapping[str, Row]) -> None:
        """Decode every sample into `folder`, except those `known` by their digest.

        Raises one DataError that names all unreadable samples.
        """
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

        crc32 = files.write(folder, pairs(), len(self.samples), self.image_size)
        files.write_index(folder, self._index(native_sizes_hw, class_pixels), crc32)

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
