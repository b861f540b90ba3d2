"""Resampling, on arrays small enough to work out by hand."""

import numpy as np
import pytest

from seg.pack.packing import resize_image, resize_mask


def test_each_new_pixel_takes_the_majority() -> None:
    mask_HW = np.array(
        [
            [1, 1, 0, 0],
            [1, 0, 0, 3],
            [2, 2, 255, 255],
            [2, 1, 255, 0],
        ],
        np.uint8,
    )
    assert resize_mask(mask_HW, 2).tolist() == [[1, 0], [2, 255]]


def test_a_tie_goes_to_the_class_in_the_middle() -> None:
    """Of four source pixels Pillow counts the lower right one as the middle."""
    assert resize_mask(np.array([[2, 1], [1, 2]], np.uint8), 1).tolist() == [[2]]
    assert resize_mask(np.array([[1, 2], [2, 1]], np.uint8), 1).tolist() == [[1]]


def test_no_class_is_invented_between_two_others() -> None:
    mask_HW = np.zeros((97, 131), np.uint8)
    mask_HW[20:70, 30:90] = 4
    assert set(np.unique(resize_mask(mask_HW, 32))) == {0, 4}


@pytest.mark.parametrize("size_hw", [(256, 256), (256, 341), (300, 400), (120, 160)])
def test_discs_neither_grow_nor_shrink(size_hw: tuple[int, int]) -> None:
    """On average over positions: a single disc is off by the chance of its border pixels, some 5 of about 4100."""
    rng = np.random.default_rng(0)
    y, x = (np.arange(side) for side in size_hw)
    errors_pixels = []
    for _ in range(40):
        (centre_y, centre_x), radius = np.array(size_hw) * rng.uniform(0.4, 0.6, 2), size_hw[0] * rng.uniform(0.2, 0.37)
        mask_HW = (np.hypot(y[:, None] - centre_y, x - centre_x) < radius).astype(np.uint8)
        errors_pixels.append((resize_mask(mask_HW, 128).mean() - mask_HW.mean()) * 128**2)
    assert abs(np.mean(errors_pixels)) < 5


def test_enlarging_repeats_pixels() -> None:
    mask_HW = np.array([[0, 1], [2, 255]], np.uint8)
    assert resize_mask(mask_HW, 4).tolist() == np.kron(mask_HW, np.ones((2, 2), np.uint8)).tolist()


def test_a_uniform_mask_stays_uniform() -> None:
    assert resize_mask(np.full((10, 7), 255, np.uint8), 3).tolist() == [[255] * 3] * 3


def test_shrinking_an_image_averages_instead_of_picking() -> None:
    """Antialiasing: a one-pixel chequerboard becomes grey, not black and white."""
    image_HW3 = np.repeat(255 * (np.indices((64, 64)).sum(axis=0) % 2)[..., None], 3, axis=2).astype(np.uint8)
    small = resize_image(image_HW3, 8)
    assert small.shape == (8, 8, 3)
    assert np.abs(small.astype(int) - 127).max() < 8
