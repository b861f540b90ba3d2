"""Write masks and overlays for any images, at their native size.

    python -m seg.predict STUDY|WEIGHTS IMAGE... --out DIR [--flips]

STUDY is a finished study's folder: its best trial's weights are used. WEIGHTS is a .safetensors file of a trial.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import fsspec
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from seg import checkpoint, models, picture
from seg.batches import normalise
from seg.checkpoint import CheckpointError
from seg.cli import ArgumentParser, plural, status_of, track
from seg.data.image_file import read_image
from seg.data.sample import DataError, Dataset, Sample
from seg.device.precision import autocast
from seg.errors import UserError
from seg.evaluate import NativeCounts, probabilities
from seg.experiment import Experiment
from seg.metrics import Counts
from seg.pack.packing import resize_image

BEST = "best.safetensors"
FLIPS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))
"""The axes that each flip of an image reverses: no axis, left to right, upside down, and both."""


class PredictError(UserError):
    """The error for an input that cannot be used. The message says which, and what to do."""


@dataclass(frozen=True)
class Predictor:
    """A trained model and how its images are prepared."""

    model: nn.Module
    experiment: Experiment
    class_names: tuple[str, ...]
    device: torch.device
    flips: bool = False
    """Whether to average over each image and its flips (test-time augmentation), which takes four times as long."""

    def probabilities(self, image_HW3: np.ndarray) -> Tensor:
        """Return class probabilities, (classes, H, W) float, of an (H, W, 3) uint8 image at its own size.

        The image is resized to the training size as the pack's images were; the probabilities are resized back.
        """
        resized = resize_image(image_HW3, self.experiment.image_size).copy()
        small = torch.from_numpy(resized).to(self.device).permute(2, 0, 1).unsqueeze(0).float() / 255
        return resize_to(self.small_probabilities(small), image_HW3.shape[:2])[0]

    @torch.inference_mode()
    def small_probabilities(self, images_N3HW: Tensor) -> Tensor:
        """Return class probabilities, (N, classes, H, W) float, of images in [0, 1] at the training size."""
        ways = FLIPS if self.flips else FLIPS[:1]
        return torch.stack([self._once(images_N3HW.flip(axes)).flip(axes) for axes in ways]).mean(0)

    def _once(self, images_N3HW: Tensor) -> Tensor:
        with autocast(self.experiment.precision, self.device):
            logits = self.model(normalise(images_N3HW, self.experiment.normalize))
        return probabilities(logits.float())

    def mask(self, image_HW3: np.ndarray) -> np.ndarray:
        """Return the class index of each pixel of an image: (H, W) uint8."""
        return self.probabilities(image_HW3).argmax(0).byte().cpu().numpy()


def resize_to(probabilities_NCHW: Tensor, size_hw: Sequence[int]) -> Tensor:
    """Resize probabilities bilinearly to another height and width, in pixels."""
    return F.interpolate(probabilities_NCHW, tuple(size_hw), mode="bilinear", align_corners=False)


def load(weights: Path | str, device: torch.device) -> Predictor:
    """Return the predictor of a weights file or of a finished study, on a disk or at any fsspec address.

    Raises PredictError if `weights` is neither.
    """
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
    except Exception as error:  # each kind of storage raises its own errors
        reason = " ".join(str(error).split()) or type(error).__name__
        raise PredictError(f"{path}: cannot be read ({reason}); check the address and its permissions") from error


def from_bytes(content: bytes, device: torch.device) -> Predictor:
    """Return the predictor of a weights file's content. Raises CheckpointError if it is something else."""
    tensors, header = checkpoint.read(content)
    experiment = checkpoint.experiment_of(header)
    model = models.build(experiment.model, len(header["class_names"]))
    checkpoint.load_model(model, tensors)
    model.to(device).to(memory_format=torch.channels_last).eval()
    return Predictor(model, experiment, tuple(header["class_names"]), device)


def predict_file(predictor: Predictor, path: Path, out_dir: Path) -> None:
    """Write `<stem>_mask.png` (binary: 0 and 255, otherwise class indices) and `<stem>_overlay.png`."""
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
    given = parser().parse_args(arguments)
    return status_of(lambda: _predict(given))


def parser() -> ArgumentParser:
    description = "Write masks and overlays for any images, at their native size."
    p = ArgumentParser("seg.predict", description, "studies/first photos/*.jpg --out masks")
    p.add_argument("weights", metavar="STUDY|WEIGHTS", help="a finished study or a weights file; s3://... too")
    p.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="a file of any size that Pillow opens")
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder of the masks and overlays")
    p.add_argument("--flips", action="store_true", help="average over each image's flips: better, four times slower")
    return p


def _predict(given: argparse.Namespace) -> None:
    predictor = load(given.weights, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    predictor = replace(predictor, flips=given.flips)
    stems = [path.stem for path in given.images]
    if doubled := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise PredictError(f"{doubled[0]}: two images of this name would overwrite each other's masks; rename one")
    _make_folder(given.out)
    for path in track(given.images, "images"):
        predict_file(predictor, path, given.out)
    count = len(given.images)
    print(f"wrote {plural(count, 'mask')} and {plural(count, 'overlay')} to {given.out}")


def count_native(predictors: Sequence[Predictor], dataset: Dataset, samples: Iterable[Sample]) -> Counts:
    """Return the counts of the predictors' mean probabilities, for each sample against its mask as it is on disk.

    This is the ISIC rule: probabilities are resized to the native size of the mask, then thresholded. Raises DataError
    if a sample is unreadable.
    """
    found = NativeCounts(dataset.classes)
    for sample in samples:
        image, mask = dataset.read(sample)
        found.add(torch.stack([one.probabilities(image) for one in predictors]).mean(0), mask)
    return found.counts


if __name__ == "__main__":
    sys.exit(main())
