"""Synthetic images that resemble dermoscopy: a skin lesion, and everything that makes it hard to segment.

Every function takes its randomness from the given generator, so a seed determines the picture.
Colours are float32 RGB in [0, 1]; lengths are in units of the image's shorter side unless they say pixels.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Kind:
    """A family of lesions, whose pigment varies between the two `colours`."""

    name: str
    colours: tuple[Colour, Colour]
    irregularity: float
    """Relative size of the border's deviations from an ellipse."""
    network: float
    """Strength of the net-like pattern inside."""


@dataclass(frozen=True)
class Shape:
    """A lesion's outline: `depth_HW` is positive inside and 0 on the border, in units of the shorter side."""

    depth_HW: np.ndarray
    radius: float

    @property
    def size_hw(self) -> tuple[int, int]:
        return self.depth_HW.shape[0], self.depth_HW.shape[1]

    @property
    def inside_HW(self) -> np.ndarray:
        return self.depth_HW > 0


@dataclass(frozen=True)
class Blotch:
    """A family of round objects in the picture that are not lesions."""

    name: str
    colour: Colour
    radii: tuple[float, float]
    strengths: tuple[float, float]
    mean_count: float


BLOTCHES = (
    Blotch("freckle", (0.45, 0.29, 0.20), (0.012, 0.035), (0.25, 0.7), 5.0),
    Blotch("reddened patch", (0.80, 0.42, 0.40), (0.08, 0.25), (0.25, 0.6), 0.8),
    Blotch("pen mark", (0.30, 0.28, 0.58), (0.03, 0.12), (0.4, 0.8), 0.6),
)


def draw_shape(rng: np.random.Generator, kind: Kind, size_hw: tuple[int, int]) -> Shape:
    """Draw an ellipse whose border is bent at low frequencies and frayed at high ones."""
    radius = float(np.exp(rng.uniform(np.log(0.16), np.log(0.46))))
    y_HW, x_HW = _coordinates(size_hw)
    reach_y, reach_x = (max(0.04, 0.8 * (side / min(size_hw) / 2 - radius)) for side in size_hw)
    y_HW, x_HW = y_HW - rng.uniform(-reach_y, reach_y), x_HW - rng.uniform(-reach_x, reach_x)
    turn, stretch = rng.uniform(0, np.pi), np.sqrt(rng.uniform(1.0, 1.7))
    along_HW = (x_HW * np.cos(turn) + y_HW * np.sin(turn)) / stretch
    across_HW = (y_HW * np.cos(turn) - x_HW * np.sin(turn)) * stretch
    distance_HW, angle_HW = np.hypot(along_HW, across_HW), np.arctan2(across_HW, along_HW)
    border_HW = np.ones(size_hw, np.float32)
    for k in range(2, 7):
        border_HW += kind.irregularity * rng.normal() / k * np.cos(k * angle_HW + rng.uniform(0, 2 * np.pi))
    border_HW += 0.25 * kind.irregularity * _clouds(rng, size_hw, cell_pixels=8)
    return Shape(depth_HW=radius * np.clip(border_HW, 0.4, 1.8) - distance_HW, radius=radius)


def draw_skin(rng: np.random.Generator, size_hw: tuple[int, int]) -> np.ndarray:
    """Draw skin (H, W, 3) of one person's tone, unevenly reddened and lit."""
    tone = rng.uniform(0.0, 1.0)
    light, dark = np.array([0.93, 0.76, 0.68]), np.array([0.62, 0.44, 0.34])
    image = light + tone * (dark - light) + rng.normal(0, 0.02, 3)
    redness_HW = np.clip(_clouds(rng, size_hw, cell_pixels=40), 0, None)[..., None]
    shade_HW = (1 + 0.035 * _clouds(rng, size_hw, cell_pixels=60))[..., None]
    texture_HW = (0.015 * _clouds(rng, size_hw, cell_pixels=3))[..., None]
    return (image - rng.uniform(0, 0.07) * redness_HW * [0.1, 1.0, 0.9]) * shade_HW + texture_HW


def add_lesion(rng: np.random.Generator, image: np.ndarray, shape: Shape, kind: Kind) -> np.ndarray:
    """Add pigment to the skin: two colours in patches, a soft border, and sometimes a fading to one side."""
    size_hw = (image.shape[0], image.shape[1])
    strength = float(np.clip(rng.lognormal(np.log(0.78), 0.3), 0.35, 0.97))
    softness = rng.uniform(0.008, 0.045) * min(1.0, shape.radius / 0.15)
    cover_HW = _sigmoid((shape.depth_HW + softness) / softness)
    if rng.random() < 0.25:
        cover_HW = cover_HW * _fading(rng, shape)
    mix_HW = _sigmoid(2.0 * _clouds(rng, size_hw, cell_pixels=14) + rng.normal())[..., None]
    pigment = mix_HW * np.array(kind.colours[0]) + (1 - mix_HW) * np.array(kind.colours[1])
    pigment = pigment * (1 - kind.network * _network(rng, size_hw)[..., None])
    return image + (strength * cover_HW)[..., None] * (pigment - image)


def add_blotches(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Add round objects that are not lesions: see BLOTCHES."""
    size_hw = (image.shape[0], image.shape[1])
    y_HW, x_HW = _coordinates(size_hw)
    for blotch in BLOTCHES:
        for _ in range(rng.poisson(blotch.mean_count)):
            radius, strength = rng.uniform(*blotch.radii), rng.uniform(*blotch.strengths)
            centre_y, centre_x = rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5) * size_hw[1] / size_hw[0]
            distance_HW = np.hypot(y_HW - centre_y, (x_HW - centre_x) * rng.uniform(0.7, 1.4))
            cover_HW = _sigmoid((radius - distance_HW) / (0.3 * radius))
            image = image + (strength * cover_HW)[..., None] * (np.array(blotch.colour) - image)
    return image


def add_hair(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Add curved dark or blond hairs, drawn at four times the size; some skins have none and some have many."""
    height, width = image.shape[:2]
    scale = 4
    sheet = Image.new("L", (scale * width, scale * height))
    pen = ImageDraw.Draw(sheet)
    direction = rng.uniform(0, 2 * np.pi)
    for _ in range(rng.poisson(rng.choice([0.0, 3.0, 14.0], p=[0.4, 0.35, 0.25]))):
        points = _curve(rng, direction + rng.normal(0, 0.5)) * [width, height] * scale
        pen.line([tuple(point) for point in points.tolist()], 255, width=int(rng.integers(2, 6)), joint="curve")
    cover_HW = np.asarray(sheet.resize((width, height), Image.Resampling.BOX), np.float32) / 255
    colour = np.array([0.16, 0.11, 0.08]) if rng.random() < 0.8 else np.array([0.75, 0.62, 0.42])
    return image + (rng.uniform(0.5, 0.9) * cover_HW)[..., None] * (colour - image)


def add_optics(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Add the instrument's effects: a vignette (round and black on some), gel reflections, a colour cast, and noise."""
    size_hw = (image.shape[0], image.shape[1])
    y_HW, x_HW = _coordinates(size_hw)
    from_axis_HW = np.hypot(y_HW - rng.normal(0, 0.06), x_HW - rng.normal(0, 0.06))
    image = image * (1 - rng.uniform(0.0, 0.35) * np.clip(from_axis_HW, 0, 1) ** 2)[..., None]
    if rng.random() < 0.08:
        image = image * (0.04 + 0.96 * _sigmoid((rng.uniform(0.56, 0.72) - from_axis_HW) / 0.012))[..., None]
    glints_HW = 0.35 * _sigmoid((_clouds(rng, size_hw, cell_pixels=6) - 2.9) / 0.15)
    image = image + glints_HW[..., None] * (1 - image)
    image = image * rng.normal(1, 0.04, 3) * rng.uniform(0.8, 1.08)
    return image + rng.normal(0, rng.uniform(0.006, 0.022), image.shape)


def to_bytes(image: np.ndarray) -> np.ndarray:
    """Clip floats to [0, 1] and convert them to uint8."""
    return np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)


def _coordinates(size_hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return y (H, 1) and x (1, W) of the pixel centres from the middle, in units of the shorter side."""
    height, width = size_hw
    y, x = np.arange(height) + 0.5 - height / 2, np.arange(width) + 0.5 - width / 2
    return y[:, None] / min(size_hw), x[None, :] / min(size_hw)


def _clouds(rng: np.random.Generator, size_hw: tuple[int, int], cell_pixels: int) -> np.ndarray:
    """Return (H, W) smooth noise of zero mean and roughly unit deviation that varies over `cell_pixels`."""
    height, width = size_hw
    rows, columns = height // cell_pixels + 3, width // cell_pixels + 3
    coarse = Image.fromarray(rng.normal(0, 1.25, (rows, columns)).astype(np.float32))
    fine = coarse.resize((columns * cell_pixels, rows * cell_pixels), Image.Resampling.BICUBIC)
    return np.asarray(fine)[cell_pixels : cell_pixels + height, cell_pixels : cell_pixels + width]


def _network(rng: np.random.Generator, size_hw: tuple[int, int]) -> np.ndarray:
    """Return a warped net, (H, W) in [0, 1], which is 1 on its strands."""
    y_HW, x_HW = _coordinates(size_hw)
    warp_y, warp_x = (0.03 * _clouds(rng, size_hw, cell_pixels=10) for _ in range(2))
    waves = 2 * np.pi * rng.uniform(8, 14)
    return np.maximum(np.cos(waves * (y_HW + x_HW + warp_y)), np.cos(waves * (x_HW - y_HW + warp_x))).clip(0, 1) ** 2


def _fading(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Return how much pigment remains, fading from one side of the lesion to the other: (H, W) in [0.3, 1]."""
    y_HW, x_HW = _coordinates(shape.size_hw)
    turn = rng.uniform(0, 2 * np.pi)
    along_HW = x_HW * np.cos(turn) + y_HW * np.sin(turn)
    middle = along_HW[shape.inside_HW].mean() if shape.inside_HW.any() else 0.0
    return 0.3 + 0.7 * _sigmoid((along_HW - middle) / (0.35 * shape.radius))


def _curve(rng: np.random.Generator, direction: float) -> np.ndarray:
    """Return 24 points along a parabola: (24, 2), x and y in units of the image's width and height."""
    start, length = rng.uniform(-0.1, 1.1, 2), rng.uniform(0.3, 1.1)
    along = np.array([np.cos(direction), np.sin(direction)])
    t = np.linspace(-0.5, 0.5, 24)[:, None]
    return start + length * t * along + rng.normal(0, 0.5) * length * t**2 * along[::-1] * [-1, 1]


def _sigmoid(value: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * value))
