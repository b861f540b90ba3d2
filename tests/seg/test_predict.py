import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from PIL import Image

from seg import checkpoint, data, loop, predict
from seg.data import Dataset
from seg.evaluate import evaluate
from seg.loop import Data
from seg.picture import overlay, strip

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def run(tiny: Data, make_experiment: Any) -> loop.Run:
    return loop.start(make_experiment(), tiny, CPU)


@pytest.fixture(scope="module")
def weights(run: loop.Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights file as a study leaves it, in a folder that could be a study's."""
    path = tmp_path_factory.mktemp("study") / "best.safetensors"
    path.write_bytes(checkpoint.snapshot(run).weights(run).to_bytes())
    return path


def photo(path: Path, width: int, height: int) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_masks_and_overlays_have_the_images_own_size(weights: Path, tmp_path: Path) -> None:
    sizes = {"a": (100, 80), "b": (31, 77), "c": (640, 480)}
    photos = [photo(tmp_path / f"{name}.png", *size) for name, size in sizes.items()]
    assert predict.main([str(weights), *map(str, photos), "--out", str(tmp_path / "out")]) == 0
    for name, size in sizes.items():
        mask = Image.open(tmp_path / "out" / f"{name}_mask.png")
        assert mask.size == size and set(np.unique(np.asarray(mask))) <= {0, 255}
        assert Image.open(tmp_path / "out" / f"{name}_overlay.png").size == size


def test_a_studys_folder_stands_for_its_best_weights(weights: Path, tmp_path: Path) -> None:
    image = photo(tmp_path / "a.png", 64, 64)
    assert predict.main([str(weights.parent), str(image), "--out", str(tmp_path)]) == 0


@pytest.mark.parametrize("kind", ["memory", "s3"])
def test_a_study_in_another_storage(
    weights: Path, tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    if kind == "s3":
        request.getfixturevalue("s3_server")
    study = f"{kind}://studies/{uuid.uuid4().hex}"
    with fsspec.open(f"{study}/best.safetensors", "wb") as file:
        file.write(weights.read_bytes())
    image = photo(tmp_path / "a.png", 64, 64)
    for place in (study, f"{study}/best.safetensors"):
        assert predict.main([place, str(image), "--out", str(tmp_path / "out")]) == 0
    assert predict.main([f"{study}/none", str(image), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {study}/none/best.safetensors: missing; ") and error.count("\n") == 1


@pytest.mark.parametrize(
    ("weights_name", "image_name", "said"),
    [
        ("best.safetensors", "absent.png", "absent.png: there is no such file"),
        ("best.safetensors", "broken.jpg", "broken.jpg: cannot be read ("),
        ("nothing.safetensors", "good.png", "nothing.safetensors: missing"),
        ("broken.jpg", "good.png", "not a safetensors file"),
        ("checkpoint.safetensors", "good.png", "not those of the model alone"),
        ("best.safetensors", "cut.png", "cut.png: cannot be read ("),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    weights: Path,
    run: loop.Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    weights_name: str,
    image_name: str,
    said: str,
) -> None:
    (tmp_path / "best.safetensors").write_bytes(weights.read_bytes())
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff not a picture")
    (tmp_path / "checkpoint.safetensors").write_bytes(checkpoint.snapshot(run).to_bytes())
    whole = photo(tmp_path / "good.png", 64, 64).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    assert predict.main([str(tmp_path / weights_name), str(tmp_path / image_name), "--out", str(tmp_path / "o")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and said in error and error.count("\n") == 1


def test_images_of_one_name_are_refused(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other").mkdir()
    photos = [photo(tmp_path / "a.png", 64, 64), photo(tmp_path / "other" / "a.png", 64, 64)]
    assert predict.main([str(weights), *map(str, photos), "--out", str(tmp_path / "out")]) == 2
    assert "overwrite" in capsys.readouterr().err


def test_an_output_folder_that_cannot_be_made_is_said(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = photo(tmp_path / "a.png", 64, 64)
    assert predict.main([str(weights), str(image), "--out", str(image)]) == 2
    assert "a.png: cannot be made (File exists); name another folder with --out" in capsys.readouterr().err


def test_predictions_at_training_size_are_the_evaluations(tiny: Data, weights: Path) -> None:
    """An image that has the training size already: prediction, native scoring and evaluation are the same counts."""
    predictor = predict.load(weights, CPU)
    images, masks = tiny.val.images_MHW3[tiny.val.rows], tiny.val.masks_MHW[tiny.val.rows]

    class InMemory:
        def __init__(self, place: int):
            self.place = place

    class Small(Dataset):
        def read(self, sample: Any) -> tuple[np.ndarray, np.ndarray]:
            return images[sample.place].numpy(), masks[sample.place].numpy()

    samples: list[Any] = [InMemory(place) for place in range(len(images))]
    counts = predict.count_native([predictor], Small("phantom", samples, tiny.class_names), samples)
    ranks = loop.Ranks()
    evaluated = evaluate(predictor.model, tiny.val, predictor.experiment, 2, ranks, CPU)
    assert (counts.hard - evaluated.counts.hard).abs().max() <= 2  # batches of another size: the last digit of a logit
    assert torch.allclose(counts.soft, evaluated.counts.soft, rtol=1e-4)


def test_flips_are_averaged_where_they_were_turned_back(weights: Path) -> None:
    predictor = predict.load(weights, CPU)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    one = predictor.small_probabilities
    by_hand = (
        one(images)
        + one(images.flip(-1)).flip(-1)
        + one(images.flip(-2)).flip(-2)
        + one(images.flip(-1).flip(-2)).flip(-1).flip(-2)
    ) / 4
    averaged = replace(predictor, flips=True).small_probabilities(images)
    assert torch.allclose(averaged, by_hand, atol=1e-6) and not torch.allclose(averaged, one(images), atol=1e-4)


def test_flips_are_asked_for_on_the_command_line(weights: Path, tmp_path: Path) -> None:
    image = photo(tmp_path / "a.png", 64, 64)
    assert predict.main([str(weights), str(image), "--out", str(tmp_path), "--flips"]) == 0
    pixels = np.asarray(Image.open(image))
    expected = replace(predict.load(weights, CPU), flips=True).mask(pixels) * 255
    assert (np.asarray(Image.open(tmp_path / "a_mask.png")) == expected).all()


def test_overlay_paints_the_mask_only() -> None:
    image, mask = np.full((40, 50, 3), 100, np.uint8), np.zeros((40, 50), np.uint8)
    mask[10:30, 10:30] = 1
    painted = overlay(image, mask)
    assert (painted[mask == 0] == 100).all() and (painted[mask == 1] != 100).any(axis=-1).all()
    assert strip(image, mask, mask).size == (3 * 320 + 12, 256)


def test_phantom_samples_are_read_at_their_own_size() -> None:
    dataset = data.load("phantom", Path("nowhere"))
    image, mask = dataset.read(dataset.samples[0])
    assert image.shape[:2] == mask.shape
