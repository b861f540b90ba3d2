"""Pictures of masks: over an image, beside its truth and prediction, and a dozen on one sheet."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

# Okabe & Ito's colour-blind-safe palette; class 0 (background) is never painted.
COLOURS = np.array(
    [(0, 0, 0), (86, 180, 233), (230, 159, 0), (0, 158, 115), (240, 228, 66), (213, 94, 0), (204, 121, 167)], np.uint8
)
TINT = 0.35
GAP_PX = 6

PANEL_PX = 300
"""The longer side of each image, in pixels."""
PANELS_A_ROW = 4
MARGIN_PX = 16
TEXT_PX = 16
LINE_PX = 22
MORE_COLOURS = np.array(
    [(145, 70, 200), (255, 0, 255), (0, 255, 255), (170, 255, 60), (0, 60, 220), (150, 90, 50), (255, 160, 160)],
    np.uint8,
)
"""The colours, as RGB, of the classes after those in COLOURS."""
IGNORED_STRIPE_PX = 6
CLASSES_SHOWN = 24


def overlay(image_HW3: np.ndarray, mask_HW: np.ndarray, colours: np.ndarray = COLOURS) -> np.ndarray:
    """Return the image with every class except background tinted and outlined: (H, W, 3) uint8.

    Ignored pixels (255) stay as they are. `colours`: (K, 3) uint8, of which the first is not used; classes from K on
    reuse those of earlier classes.
    """
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
    """Return the inside pixels near the outside. The erosion filter is about a 200th of the picture wide."""
    width = max(3, (max(inside_HW.shape) // 200) | 1)
    eroded = Image.fromarray(inside_HW.astype(np.uint8) * 255).filter(ImageFilter.MinFilter(width))
    return inside_HW & (np.asarray(eroded) == 0)


def strip(image_HW3: np.ndarray, truth_HW: np.ndarray, prediction_HW: np.ndarray, height_px: int = 256) -> Image.Image:
    """Return a picture of image, truth, and prediction side by side."""
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


@dataclass(frozen=True)
class Panel:
    id: str
    split: str
    image_HW3: np.ndarray
    mask_HW: np.ndarray


def contact_sheet(title: str, panels: Sequence[Panel], class_names: Sequence[str]) -> Image.Image:
    """Return a page with each panel's image, its mask as an overlay, and a legend of the classes."""
    font = ImageFont.load_default(TEXT_PX)
    columns = min(PANELS_A_ROW, len(panels))
    width_px = MARGIN_PX + columns * (PANEL_PX + MARGIN_PX)
    ignored = any((panel.mask_HW == 255).any() for panel in panels)
    legend = _legend_places(font, width_px, _legend(class_names, ignored))
    top_px = 2 * MARGIN_PX + LINE_PX + max(y for _, y, _, _ in legend) + LINE_PX
    painted = [_painted(panel) for panel in panels]
    rows = [range(first, min(first + columns, len(panels))) for first in range(0, len(panels), columns)]
    heights_px = [max(painted[place].height for place in row) for row in rows]
    row_px = 2 * LINE_PX + MARGIN_PX
    sheet = Image.new("RGB", (width_px, top_px + sum(heights_px) + len(rows) * row_px), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN_PX, MARGIN_PX), _shortened(font, title, width_px - 2 * MARGIN_PX), "black", font)
    for x, y, name, colour in legend:
        _swatch(sheet, x, y + MARGIN_PX + LINE_PX, colour)
        draw.text((x + LINE_PX, y + MARGIN_PX + LINE_PX), name, "black", font)
    bottom = top_px
    for row, height_px in zip(rows, heights_px, strict=True):
        bottom += height_px
        for column, place in enumerate(row):
            x, panel, picture = MARGIN_PX + column * (PANEL_PX + MARGIN_PX), panels[place], painted[place]
            sheet.paste(picture, (x + (PANEL_PX - picture.width) // 2, bottom - picture.height))
            draw.text((x, bottom + 2), _shortened(font, panel.id, PANEL_PX), "black", font)
            draw.text((x, bottom + LINE_PX), f"{panel.split}{_contents(panel)}", "dimgray", font)
        bottom += row_px
    return sheet


def _painted(panel: Panel) -> Image.Image:
    """Return the panel's image with its mask as an overlay.

    It is resized first, so that outlines and stripes have the same width in every panel.
    """
    height, width = panel.mask_HW.shape
    scale = PANEL_PX / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    image_HW3 = np.asarray(Image.fromarray(panel.image_HW3).resize(size, Image.Resampling.BILINEAR))
    mask_HW = np.asarray(Image.fromarray(panel.mask_HW).resize(size, Image.Resampling.NEAREST))
    painted_HW3 = overlay(image_HW3, mask_HW, np.concatenate([COLOURS, MORE_COLOURS]))
    ignored_HW = mask_HW == 255
    painted_HW3[ignored_HW] = _stripes(*mask_HW.shape)[ignored_HW]
    return Image.fromarray(painted_HW3)


def _stripes(height: int, width: int) -> np.ndarray:
    rows, columns = np.ogrid[:height, :width]
    light_HW1 = ((rows + columns) // IGNORED_STRIPE_PX % 2 == 0)[..., None]
    return np.where(light_HW1, 225, 120).repeat(3, axis=2).astype(np.uint8)


def _contents(panel: Panel) -> str:
    """Return a remark on what the picture does not show: an empty mask, or a mask filled by one class."""
    values = set(np.unique(panel.mask_HW).tolist())
    return ", empty mask" if values <= {0, 255} else ", one class fills it" if len(values) == 1 else ""


def _legend(class_names: Sequence[str], ignored: bool) -> list[tuple[str, np.ndarray | None]]:
    """Return the name and colour of each entry; the colour is None for ignored pixels, which are striped."""
    colours = np.concatenate([COLOURS, MORE_COLOURS])[1:]
    shown = [(f"{n} {name}", colours[(n - 1) % len(colours)]) for n, name in enumerate(class_names) if n][
        :CLASSES_SHOWN
    ]
    entries: list[tuple[str, np.ndarray | None]] = [(f"0 {class_names[0]} (not painted)", np.full(3, 255, np.uint8))]
    entries += shown
    if len(class_names) - 1 > CLASSES_SHOWN:
        entries.append((f"and {len(class_names) - 1 - CLASSES_SHOWN} more", np.full(3, 255, np.uint8)))
    return [*entries, ("255 ignored", None)] if ignored else entries


def _legend_places(
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width_px: int, entries: Sequence[tuple[str, np.ndarray | None]]
) -> list[tuple[int, int, str, np.ndarray | None]]:
    """Return x, y, name, and colour of each entry, with as many entries in a line as fit."""
    places, x, y = [], MARGIN_PX, 0
    for name, colour in entries:
        name = _shortened(font, name, width_px - 2 * MARGIN_PX - LINE_PX)
        entry_px = LINE_PX + int(font.getlength(name)) + MARGIN_PX
        if x > MARGIN_PX and x + entry_px > width_px:
            x, y = MARGIN_PX, y + LINE_PX
        places.append((x, y, name, colour))
        x += entry_px
    return places


def _swatch(sheet: Image.Image, x: int, y: int, colour: np.ndarray | None) -> None:
    side = TEXT_PX
    square = _stripes(side, side) if colour is None else np.broadcast_to(colour, (side, side, 3))
    sheet.paste(Image.fromarray(np.ascontiguousarray(square, np.uint8)), (x, y + 2))
    ImageDraw.Draw(sheet).rectangle((x, y + 2, x + side, y + 2 + side), outline="black")


def _shortened(font: ImageFont.FreeTypeFont | ImageFont.ImageFont, text: str, width_px: int) -> str:
    """Return the end of the text if it is too wide: file names mostly differ in their ends."""
    if font.getlength(text) <= width_px:
        return text
    while text and font.getlength("..." + text) > width_px:
        text = text[1:]
    return "..." + text
