"""Synthetic dermoscopy images, generated from a seed: data for a study without files.

They are hard on purpose. Fading pigment, freckles, reddened patches, pen marks, hair and vignettes keep a threshold
from finding the lesion. Lesions of very different sizes keep a coarse model from outlining it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seg.data import dermoscopy
from seg.data.dermoscopy import Kind
from seg.data.sample import Dataset, Sample

VERSION = 1
"""The version of the pictures, part of the keys of packs; raise it with any change of the pictures."""
SEED = 2016
SPLITS = ("train", "test")
SIZES_HW = ((120, 160), (120, 160), (120, 150), (128, 176), (144, 112))

KINDS = (
    Kind("naevus", ((0.50, 0.32, 0.22), (0.62, 0.43, 0.31)), irregularity=0.10, network=0.25),
    Kind("melanoma", ((0.20, 0.13, 0.12), (0.50, 0.28, 0.22)), irregularity=0.30, network=0.15),
    Kind("keratosis", ((0.58, 0.46, 0.30), (0.38, 0.28, 0.20)), irregularity=0.18, network=0.0),
    Kind("vascular", ((0.58, 0.16, 0.22), (0.40, 0.10, 0.20)), irregularity=0.12, network=0.0),
)


@dataclass(frozen=True)
class Variant:
    """One dataset of phantoms: the number of images, and the class and share of each kind of lesion."""

    name: str
    class_names: tuple[str, ...]
    classes: tuple[int, ...]
    """The class of each of KINDS."""
    shares: tuple[float, ...]
    """The share of each of KINDS among the lesions; the shares sum to 1."""
    counts: dict[str, int]
    """The number of images of each split."""


BINARY = Variant(
    "phantom",
    ("background", "lesion"),
    classes=(1, 1, 1, 1),
    shares=(0.45, 0.25, 0.2, 0.1),
    counts={"train": 240, "test": 60},
)
FIVE = Variant(
    "phantom5",
    ("background", *(kind.name for kind in KINDS)),
    classes=(1, 2, 3, 4),
    shares=(0.5, 0.3, 0.05, 0.15),
    counts={"train": 480, "test": 600},
)
"""The variant with one class for each kind of lesion.

Keratoses, which look much like naevi, are in one image of twenty.
"""


@dataclass(frozen=True)
class PhantomSample:
    """One generated picture. It depends only on SEED, the variant, the split and the number, not on other pictures."""

    variant: Variant
    split: str
    number: int

    @property
    def id(self) -> str:
        return f"{self.variant.name}_{self.split}_{self.number:04d}"

    def digest(self) -> str:
        return f"{self.id}-version{VERSION}-seed{SEED}"

    def image(self, least: int | None = None) -> np.ndarray:
        rng, kind, shape = self._draw()
        image_HW3 = dermoscopy.draw_skin(rng, shape.size_hw)
        image_HW3 = dermoscopy.add_blotches(rng, image_HW3)
        image_HW3 = dermoscopy.add_lesion(rng, image_HW3, shape, KINDS[kind])
        image_HW3 = dermoscopy.add_hair(rng, image_HW3)
        return dermoscopy.to_bytes(dermoscopy.add_optics(rng, image_HW3))

    def mask(self) -> np.ndarray:
        _, kind, shape = self._draw()
        return np.where(shape.inside_HW, self.variant.classes[kind], 0).astype(np.uint8)

    def _draw(self) -> tuple[np.random.Generator, int, dermoscopy.Shape]:
        """Return the generator after it has drawn kind and outline; they come first, so the mask needs no picture."""
        rng = np.random.default_rng([SEED, SPLITS.index(self.split), self.number])
        size_hw = SIZES_HW[rng.integers(len(SIZES_HW))]
        kind = int(rng.choice(len(KINDS), p=self.variant.shares))
        return rng, kind, dermoscopy.draw_shape(rng, KINDS[kind], size_hw)


def load(data_dir: Path, download: bool = True) -> Dataset:
    """Generate 240 training and 60 test images; nothing is read or downloaded."""
    return generate(BINARY)


def load5(data_dir: Path, download: bool = True) -> Dataset:
    """Generate 480 training and 600 test images of four kinds of lesion."""
    return generate(FIVE)


def generate(variant: Variant) -> Dataset:
    samples: list[Sample] = [
        PhantomSample(variant, split, number) for split, count in variant.counts.items() for number in range(count)
    ]
    return Dataset(variant.name, samples, variant.class_names, remark="synthetic images", synthetic=True)
