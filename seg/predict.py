"""Masks and overlays for any images, at their native size.

    python -m seg.predict STUDY|WEIGHTS IMAGE... --out DIR [--flips]

STUDY is a finished study's folder: its best trial's weights are used. WEIGHTS is a .safetensors file of a trial.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import fsspec
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from seg import checkpoint, models, picture
from seg.batches import normalise
from seg.checkpoint import CheckpointError
from seg.data.image_file import read_image
from seg.data.sample import DataError
from seg.evaluate import probabilities
from seg.experiment import Experiment
from seg.precision import autocast
from seg.redact import redact
from seg.resample import resize_image

BEST = "best.safetensors"
FLIPS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))
"""Axes of an image that are turned around: none, left to right, upside down, both."""


class PredictError(Exception):
    """The input cannot be used. The message says which and what to do."""


@dataclass(frozen=True)
class Predictor:
    """A trained model and how its images are prepared."""

    model: nn.Module
    experiment: Experiment
    class_names: tuple[str, ...]
    device: torch.device
    flips: bool = False
    """Of each image and its flips the mean probability, for four times the time: test-time augmentation."""

    def probabilities(self, image_HW3: np.ndarray) -> Tensor:
        """(classes, H, W) float of an (H, W, 3) uint8 image, at its own size.

        The image is resized to the training size as the pack's images were; probabilities are resized back.
        """
        resized = resize_image(image_HW3, self.experiment.image_size).copy()
        small = torch.from_numpy(resized).to(self.device).permute(2, 0, 1).unsqueeze(0).float() / 255
        return resize_to(self.small_probabilities(small), image_HW3.shape[:2])[0]

    @torch.inference_mode()
    def small_probabilities(self, images_N3HW: Tensor) -> Tensor:
        """(N, classes, H, W) float of images in [0, 1] at the training size."""
        ways = FLIPS if self.flips else FLIPS[:1]
        return torch.stack([self._once(images_N3HW.flip(axes)).flip(axes) for axes in ways]).mean(0)

    def _once(self, images_N3HW: Tensor) -> Tensor:
        with autocast(self.experiment.precision, self.device):
            logits = self.model(normalise(images_N3HW, self.experiment.normalize))
        return probabilities(logits.float())

    def mask(self, image_HW3: np.ndarray) -> np.ndarray:
        """(H, W) uint8 class indices."""
        return self.probabilities(image_HW3).argmax(0).byte().cpu().numpy()


def resize_to(probabilities_NCHW: Tensor, size_hw: Sequence[int]) -> Tensor:
    """Bilinear, to another height and width in pixels."""
    return F.interpolate(probabilities_NCHW, tuple(size_hw), mode="bilinear", align_corners=False)


def load(weights: Path | str, device: torch.device) -> Predictor:
    """`weights`: a weights file or a finished study, on a disk or at any fsspec address. PredictError where neither."""
    content = _fetch(str(weights)) if "://" in str(weights) else _read(Path(weights))
    try:
        return from_bytes(content, device)
    except CheckpointError as error:
        raise PredictError(f"{weights}: {error}; give a study's folder or a trial's best.safetensors") from error


def _read(weights: Path) -> bytes:
    path = weights / BEST if weights.is_dir() else weights
    if not path.exists():
        hint = "a study has it once it is finished" if weights.is_dir() else "no such file or study"
        raise PredictError(f"{path}: missing; {hint}")
    try:
        return path.read_bytes()
    except OSError as error:
        raise PredictError(f"{path}: cannot be read ({error.strerror or error})") from error


def _fetch(address: str) -> bytes:
    path = address if address.endswith(".safetensors") else f"{address.rstrip('/')}/{BEST}"
    try:
        with fsspec.open(path, "rb") as file:
            return bytes(file.read())
    except FileNotFoundError as error:
        raise PredictError(f"{path}: missing; a study has it once it is finished") from error
    except Exception as error:  # every kind of storage has errors of its own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise PredictError(f"{path}: cannot be read ({reason}); check the address and its permissions") from error


def from_bytes(content: bytes, device: torch.device) -> Predictor:
    """Of a weights file's content. CheckpointError where it is something else."""
    tensors, header = checkpoint.read(content)
    experiment = checkpoint.experiment_of(header)
    model = models.build(experiment.model, len(header["class_names"]))
    checkpoint.load_model(model, tensors)
    model.to(device).to(memory_format=torch.channels_last).eval()
    return Predictor(model, experiment, tuple(header["class_names"]), device)


def predict_file(predictor: Predictor, path: Path, out_dir: Path) -> None:
    """Writes `<stem>_mask.png` (binary: 0 / 255, else class indices) and `<stem>_overlay.png`."""
    try:
        image = read_image(path)
    except DataError as error:
        raise PredictError(str(error)) from error
    mask = predictor.mask(image)
    binary = len(predictor.class_names) == 2
    Image.fromarray(mask * 255 if binary else mask).save(out_dir / f"{path.stem}_mask.png")
    Image.fromarray(picture.overlay(image, mask)).save(out_dir / f"{path.stem}_overlay.png")


def _make_folder(out_dir: Path) -> None:
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PredictError(f"{out_dir}: cannot be made ({error.strerror}); name another folder with --out") from error


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m seg.predict", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("weights", metavar="STUDY|WEIGHTS", help="a finished study or a weights file; s3://... too")
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--flips", action="store_true", help="average over each image's flips: better, four times slower"
    )
    given = parser.parse_args(arguments)
    try:
        predictor = load(given.weights, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        predictor = replace(predictor, flips=given.flips)
        stems = [path.stem for path in given.images]
        if doubled := sorted({stem for stem in stems if stems.count(stem) > 1}):
            raise PredictError(f"{doubled[0]}: two images of this name would overwrite each other's masks; rename one")
        _make_folder(given.out)
        for path in tqdm(given.images, unit="image", disable=not sys.stderr.isatty()):
            predict_file(predictor, path, given.out)
    except PredictError as error:
        print(redact(f"error: {error}"), file=sys.stderr)
        return 2
    print(f"{len(given.images)} masks and overlays in {given.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
