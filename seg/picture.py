"""Pictures of masks: a mask's outline and tint over its image, and strips of image, truth and prediction."""

import io

import numpy as np
from PIL import Image, ImageFilter

# Okabe & Ito's colour-blind-safe palette; class 0 (background) is never painted.
COLOURS = np.array(
    [(0, 0, 0), (86, 180, 233), (230, 159, 0), (0, 158, 115), (240, 228, 66), (213, 94, 0), (204, 121, 167)], np.uint8
)
TINT = 0.35
GAP_PX = 6


def overlay(image_HW3: np.ndarray, mask_HW: np.ndarray, colours: np.ndarray = COLOURS) -> np.ndarray:
    """(H, W, 3) uint8: every class but background tinted and outlined; ignored pixels (255) stay as they are.

    `colours`: (K, 3) uint8, the first of which is not used; classes beyond K have those of earlier ones."""
    painted = image_HW3.astype(np.float32)
    for label in np.unique(mask_HW):
        if label in (0, 255):
            continue
        colour = colours[1 + (int(label) - 1) % (len(colours) - 1)].astype(np.float32)
        inside = mask_HW == label
        painted[inside] = (1 - TINT) * painted[inside] + TINT * colour
        painted[_outline(inside)] = colour
    return painted.round().astype(np.uint8)


def _outline(inside_HW: np.ndarray) -> np.ndarray:
    """Pixels inside that touch the outside, as wide as a 200th of the picture."""
    width = max(3, (max(inside_HW.shape) // 200) | 1)
    eroded = Image.fromarray(inside_HW.astype(np.uint8) * 255).filter(ImageFilter.MinFilter(width))
    return inside_HW & (np.asarray(eroded) == 0)


def strip(image_HW3: np.ndarray, truth_HW: np.ndarray, prediction_HW: np.ndarray, height_px: int = 256) -> Image.Image:
    """Image, truth and prediction side by side."""
    panels = [image_HW3, overlay(image_HW3, truth_HW), overlay(image_HW3, prediction_HW)]
    width_px = max(1, round(height_px * image_HW3.shape[1] / image_HW3.shape[0]))
    picture = Image.new("RGB", (3 * width_px + 2 * GAP_PX, height_px), "white")
    for place, panel in enumerate(panels):
        scaled = Image.fromarray(panel).resize((width_px, height_px), Image.Resampling.BILINEAR)
        picture.paste(scaled, (place * (width_px + GAP_PX), 0))
    return picture


def to_png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()
