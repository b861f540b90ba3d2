"""The synthetic dataset: the same everywhere, and neither trivial nor hopeless."""

import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seg.data import Dataset, load


@pytest.fixture(scope="module")
def phantom() -> Dataset:
    return load("phantom", Path("nowhere"), download=False)


@pytest.fixture(scope="module")
def some(phantom: Dataset) -> list[tuple[np.ndarray, np.ndarray]]:
    return [phantom.read(sample) for sample in phantom.samples[::4]]


def test_is_labelled_synthetic(phantom: Dataset) -> None:
    assert phantom.synthetic
    assert "synthetic" in phantom.remark
    assert phantom.class_names == ("background", "lesion")
    splits = [sample.split for sample in phantom.samples]
    assert (splits.count("train"), splits.count("test")) == (240, 60)
    assert len({sample.id for sample in phantom.samples}) == len({sample.digest() for sample in phantom.samples}) == 300


def test_images_and_masks_match_in_size(some: list[tuple[np.ndarray, np.ndarray]]) -> None:
    for image_HW3, mask_HW in some:
        assert image_HW3.dtype == mask_HW.dtype == np.uint8
        assert image_HW3.shape == (*mask_HW.shape, 3)
        assert 0.02 < mask_HW.mean() < 0.7


def test_another_process_draws_the_same_pixels(phantom: Dataset) -> None:
    script = (
        "import zlib; from pathlib import Path; from seg.data import load\n"
        "sample = load('phantom', Path('.')).samples[7]\n"
        "print(zlib.crc32(sample.image().tobytes()), zlib.crc32(sample.mask().tobytes()))"
    )
    there = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    sample = phantom.samples[7]
    assert there.split() == [str(zlib.crc32(array.tobytes())) for array in (sample.image(), sample.mask())]


def test_a_threshold_gets_a_mediocre_score(some: list[tuple[np.ndarray, np.ndarray]]) -> None:
    scores = [iou(darker_than_otsu(image_HW3), mask_HW > 0) for image_HW3, mask_HW in some]
    assert 0.45 < np.mean(scores) < 0.65


def test_lesions_are_darker_than_their_surroundings_in_most(some: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """The signal is there: what a threshold misses is where it is, not whether it is."""
    contrast = [image[mask == 0].mean() - image[mask == 1].mean() for image, mask in some]
    assert np.mean(np.array(contrast) > 5) > 0.85


def iou(prediction_HW: np.ndarray, target_HW: np.ndarray) -> float:
    return float((prediction_HW & target_HW).sum() / (prediction_HW | target_HW).sum())


def darker_than_otsu(image_HW3: np.ndarray) -> np.ndarray:
    """Otsu 1979: the threshold with the largest variance between the two classes of pixels."""
    grey_HW = np.asarray(Image.fromarray(image_HW3).convert("L"))
    counts = np.bincount(grey_HW.ravel(), minlength=256)[:255].astype(float)
    below, moment = counts.cumsum(), (counts * np.arange(255)).cumsum()
    total, mean = grey_HW.size, grey_HW.mean()
    between = (mean * below - moment) ** 2 / np.maximum(below * (total - below), 1)
    return grey_HW <= np.argmax(between)


def test_the_five_class_variant_has_one_kind_in_an_image_of_twenty() -> None:
    found = load("phantom5", Path("nowhere"), download=False)
    assert found.synthetic and found.class_names == ("background", "naevus", "melanoma", "keratosis", "vascular")
    masks = [np.unique(sample.mask()).tolist() for sample in found.samples if sample.split == "train"]
    assert all(values == [0, values[1]] for values in masks)
    shares = [sum(number in values for values in masks) / len(masks) for number in range(5)]
    np.testing.assert_allclose(shares, [1, 0.49, 0.29, 0.06, 0.16], atol=0.02)
