"""A user's own ten images: checked, trained on, predicted, without a line of code."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_specs import SEARCHED
from PIL import Image

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SCRATCH = ("--set", "encoder.weights=none")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten photographs of a bright disc: in colour, gray, with transparency, turned by EXIF."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    rng = np.random.default_rng(0)
    for number in range(10):
        height, width = 60, 80
        y, x = np.mgrid[:height, :width]
        inside = (y - rng.integers(20, 40)) ** 2 + (x - rng.integers(25, 55)) ** 2 < rng.integers(8, 16) ** 2
        gray = np.where(inside, 200, 70) + rng.integers(-20, 20, (height, width))
        picture = Image.fromarray(gray.astype(np.uint8)).convert(("RGB", "L", "RGBA")[number % 3])
        name = f"photo {number}"
        if number == 9:  # stored lying on its side, to be turned upright by whoever opens it
            exif = Image.Exif()
            exif[0x0112] = 6
            picture.convert("RGB").transpose(Image.Transpose.ROTATE_90).save(
                folder / "images" / f"{name}.jpg", exif=exif, quality=95
            )
        else:
            picture.save(folder / "images" / f"{name}.png")
        Image.fromarray(inside.astype(np.uint8) * 255).save(folder / "masks" / f"{name}.png")
    return folder


def test_ten_images_train_and_predict(shell: Any, own: Path, tmp_path: Path) -> None:
    assert "folder: 10 images, 10 of them usable" in shell.run("study.check", "folder", "--data", own)
    small = ("--trials", 2, "--epochs", 3, "--image-size", 64, "--no-report")
    out = shell.study("folder", "--data", own, *SCRATCH, *small, "--name", "own")
    assert "2/2 trials" in out and "The choice is the recipe" in out and "warning: only " in out
    photo = own / "images" / "photo 9.jpg"
    shell.run("seg.predict", shell.storage / "own", photo, "--out", tmp_path)
    assert Image.open(tmp_path / "photo 9_mask.png").size == (80, 60)


def test_five_classes_from_the_spec_to_the_table(shell: Any) -> None:
    """The imbalanced phantom with what is there for it: weighted losses and oversampling."""
    search = (
        "search={model: mobilenetv2_skip, loss: {weighted_ce: {power: [0.5, 1.0]}, focal_tversky: {}},"
        " oversample: [0.5, 1.0], encoder_lr: 1e-3, decoder_lr: 1e-3}"
    )
    small = ("--trials", 2, "--epochs", 1, "--image-size", 64, "--set", "early_stopping={scheduler: none}")
    shell.study(SEARCHED, "--set", "dataset=phantom5", "--set", search, *small, "--name", "five")
    table = shell.run("analysis.table", shell.storage / "five", "--format", "json")
    assert '"val_iou_class4"' in table and '"test_iou_foreground"' in table
    assert "mobilenetv2_skip" in shell.run("study.ls", shell.storage / "five")
    assert "MATCHED" in shell.run("study.replay", shell.storage / "five", 0)
