"""What may be done to the images of a batch, by name; seg.augment does it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Augmentation:
    horizontal_flip: bool = False
    vertical_flip: bool = False
    rotation_degrees: float = 0.0
    """Uniform within ± this angle; what comes in from outside the image is its reflection."""
    zoom: float = 1.0
    """Larger or smaller by up to this factor, log-uniform."""
    colour: float = 0.0
    """Brightness, contrast and saturation, each times a factor that is uniform within 1 ± this."""


AUGMENTATIONS: dict[str, Augmentation] = {
    "none": Augmentation(),
    "flips": Augmentation(horizontal_flip=True, vertical_flip=True),
    "hflip_rotate": Augmentation(horizontal_flip=True, rotation_degrees=60.0),
    "flips_rotate": Augmentation(horizontal_flip=True, vertical_flip=True, rotation_degrees=60.0),
    "hflip_rotate15": Augmentation(horizontal_flip=True, rotation_degrees=15.0),
    "flips_rotate15": Augmentation(horizontal_flip=True, vertical_flip=True, rotation_degrees=15.0),
    "hflip_rotate15_zoom_colour": Augmentation(True, rotation_degrees=15.0, zoom=1.25, colour=0.2),
    "hflip_rotate15_zoom2_colour": Augmentation(True, rotation_degrees=15.0, zoom=1.5, colour=0.3),
    "flips_rotate15_zoom_colour": Augmentation(True, True, rotation_degrees=15.0, zoom=1.25, colour=0.2),
    "turns_zoom": Augmentation(True, True, rotation_degrees=180.0, zoom=1.25),
    "turns_zoom_colour": Augmentation(True, True, rotation_degrees=180.0, zoom=1.25, colour=0.2),
}
