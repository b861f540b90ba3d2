"""A dozen images with their masks on one page, for a person to see whether the masks were understood."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from seg.picture import COLOURS, overlay

PANEL_PX = 300
"""Longer side of each image."""
PANELS_A_ROW = 4
MARGIN_PX = 16
TEXT_PX = 16
LINE_PX = 22
MORE_COLOURS = np.array(
    [(145, 70, 200), (255, 0, 255), (0, 255, 255), (170, 255, 60), (0, 60, 220), (150, 90, 50), (255, 160, 160)],
    np.uint8,
)
"""Of classes beyond those that COLOURS has one for."""
IGNORED_STRIPE_PX = 6
CLASSES_SHOWN = 24


@dataclass(frozen=True)
class Panel:
    id: str
    split: str
    image_HW3: np.ndarray
    mask_HW: np.ndarray


def contact_sheet(title: str, panels: Sequence[Panel], class_names: Sequence[str]) -> Image.Image:
    """Each panel's image with its mask as an overlay, and a legend of the classes."""
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
    """Made smaller first: outlines and stripes are as wide in every panel."""
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
    """What cannot be seen: that a mask is empty, or has no background."""
    values = set(np.unique(panel.mask_HW).tolist())
    return ", empty mask" if values <= {0, 255} else ", one class fills it" if len(values) == 1 else ""


def _legend(class_names: Sequence[str], ignored: bool) -> list[tuple[str, np.ndarray | None]]:
    """Name and colour of each entry; no colour for what is striped."""
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
    """x, y, name and colour of each entry, as many in a line as it holds."""
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
    """As much of the end as fits: what tells file names apart is mostly there."""
    if font.getlength(text) <= width_px:
        return text
    while text and font.getlength("..." + text) > width_px:
        text = text[1:]
    return "..." + text
