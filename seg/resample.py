"""Images and masks brought to the square training size."""

import numpy as np
from PIL import Image

_TIE_BREAK = 1e-4
"""Below any real difference of two shares, above their rounding."""


def resize_image(image_HW3: np.ndarray, size: int) -> np.ndarray:
    """(H, W, 3) uint8 -> (size, size, 3) uint8: bilinear, the filter widened when shrinking (antialiasing)."""
    return np.asarray(Image.fromarray(image_HW3).resize((size, size), Image.Resampling.BILINEAR))


def resize_mask(mask_HW: np.ndarray, size: int) -> np.ndarray:
    """(H, W) uint8 class indices -> (size, size): each new pixel takes the class most of its source pixels have.

    Nearest-neighbour would let one source pixel in (H/size)² decide, which frays borders and loses thin
    parts; interpolated indices would invent classes between two others. 255 votes as one more class.
    A tie goes to the class of the source pixel in the middle. Ties are common along borders when a size is
    halved: won by the lower class they would make every lesion smaller, by 31 of a 4100-pixel disc at 256 -> 128.
    """
    classes = np.unique(mask_HW)
    if len(classes) == 1:
        return np.full((size, size), classes[0], np.uint8)
    middle_SS = np.asarray(Image.fromarray(mask_HW).resize((size, size), Image.Resampling.NEAREST))
    votes = [_share(mask_HW == c, size) + _TIE_BREAK * (middle_SS == c) for c in classes]
    return classes[np.argmax(votes, axis=0)]


def _share(indicator_HW: np.ndarray, size: int) -> np.ndarray:
    """(size, size) float32: share of each new pixel's source pixels that are set. Mode F: 8 bits would round."""
    image = Image.fromarray(indicator_HW.astype(np.float32))
    return np.asarray(image.resize((size, size), Image.Resampling.BOX))
