"""Images and masks brought to the square training size."""

import numpy as np
from PIL import Image


def resize_image(image_HW3: np.ndarray, size: int) -> np.ndarray:
    """(H, W, 3) uint8 -> (size, size, 3) uint8: bilinear, the filter widened when shrinking (antialiasing)."""
    return np.asarray(Image.fromarray(image_HW3).resize((size, size), Image.Resampling.BILINEAR))


def resize_mask(mask_HW: np.ndarray, size: int) -> np.ndarray:
    """(H, W) uint8 class indices -> (size, size): each new pixel takes the class that covers most of it.

    Nearest-neighbour would let one source pixel in (H/size)² decide, which frays borders and loses thin
    parts; interpolated indices would invent classes between two others. 255 votes as one more class.
    Of two classes that cover a pixel equally the lower one wins.
    """
    classes = np.unique(mask_HW)
    if len(classes) == 1:
        return np.full((size, size), classes[0], np.uint8)
    return classes[np.argmax([_coverage(mask_HW == c, size) for c in classes], axis=0)]


def _coverage(indicator_HW: np.ndarray, size: int) -> np.ndarray:
    """Share of each new pixel's area, (size, size) float32. Mode F: 8-bit shares would round to false ties."""
    image = Image.fromarray(indicator_HW.astype(np.float32))
    return np.asarray(image.resize((size, size), Image.Resampling.BOX))
