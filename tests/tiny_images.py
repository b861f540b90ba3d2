"""A lesion of a kind, made on the spot."""

from pathlib import Path

import numpy as np
from PIL import Image


def add_pair(data_dir: Path, part: str, id: str, seed: int) -> None:
    """Noise of 40×30 pixels with a rectangle for a lesion, into the folder of ISIC 2016 for `part`."""
    image_path, mask_path = (data_dir / "isic2016" / f"ISBI2016_ISIC_Part1_{part}_{k}" for k in ("Data", "GroundTruth"))
    image_path.mkdir(parents=True, exist_ok=True)
    mask_path.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    left, top = rng.integers(0, 15, 2)
    mask_HW = np.zeros((30, 40), np.uint8)
    mask_HW[top : top + 12, left : left + 20] = 255
    image_HW3 = rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(image_HW3).save(image_path / f"{id}.jpg", quality=95)
    Image.fromarray(mask_HW).save(mask_path / f"{id}_Segmentation.png")
