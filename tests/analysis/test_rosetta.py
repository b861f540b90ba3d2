"""Every score against whoever defined it: the ISIC challenge's scorer, torchmetrics, SMP, seg.metrics, or by hand."""

import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassJaccardIndex,
)

from analysis import rosetta
from seg import metrics
from study.store.counts import to_table

# The official scorer reads ZIP files with a package that has no wheels; it scores folders here.
sys.modules.setdefault("zipfile_deflate64", zipfile)
from isic_challenge_scoring.load_image import iter_image_pairs  # noqa: E402
from isic_challenge_scoring.segmentation import SegmentationScore  # noqa: E402

# The official scorer's own call of pandas.
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning")

IGNORED = 255
OFFICIAL = {
    "jaccard": "iou",
    "dice": "dice",
    "accuracy": "accuracy_image",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "threshold_jaccard": "iou_passed",
}
"""The official scorer's names, and ours."""


def table(prediction: Tensor, target: Tensor, classes: int, probability: Tensor | None = None) -> pd.DataFrame:
    """The counts that a study would store. Probabilities (N, C, H, W) are certain where none are given."""
    if probability is None:
        probability = torch.nn.functional.one_hot(prediction, classes).permute(0, 3, 1, 2).float()
    counts = metrics.Counts(metrics.count(prediction, target, classes), metrics.count_soft(probability, target))
    return to_table([f"{place:03d}" for place in range(len(target))], counts)


def values(counts: pd.DataFrame) -> "pd.Series[float]":
    return rosetta.scores(counts).set_index("name")["value"]


def sample(classes: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Six images: prediction, target and probabilities. Mostly right, the classes unequal, a tenth ignored."""
    generator = torch.Generator().manual_seed(seed)
    target = (torch.rand(6, 12, 10, generator=generator) ** 2 * classes).long()
    logits = torch.randn(6, classes, 12, 10, generator=generator)
    logits += 1.5 * torch.nn.functional.one_hot(target, classes).permute(0, 3, 1, 2)
    target[torch.rand(target.shape, generator=generator) < 0.1] = IGNORED
    return logits.argmax(1), target, logits.softmax(1)


def without(classes: int, absent: int) -> tuple[Tensor, Tensor, Tensor]:
    """As `sample`, `absent` in neither prediction nor target."""
    prediction, target, probability = sample(classes)
    return prediction.where(prediction != absent, 0), target.where(target != absent, 0), probability


@pytest.mark.parametrize("classes", [2, 3, 6])
@pytest.mark.parametrize("seed", range(3))
def test_the_names_that_a_record_has_mean_what_they_mean_there(classes: int, seed: int) -> None:
    prediction, target, probability = sample(classes, seed)
    prediction[1], target[1] = 0, 0  # nothing but background
    target[2] = 0
    counted = metrics.Counts(metrics.count(prediction, target, classes), metrics.count_soft(probability, target))
    found = values(table(prediction, target, classes, probability))
    for name, value in metrics.scores(counted).items():
        assert found[name] == pytest.approx(value, abs=1e-12), name
    assert found["iou_lowest"] == pytest.approx(float(metrics.image_iou(counted).min()))


def test_a_class_in_neither_truth_nor_prediction_is_left_out() -> None:
    prediction, target, probability = without(4, absent=2)
    counted = metrics.Counts(metrics.count(prediction, target, 4), metrics.count_soft(probability, target))
    found = values(table(prediction, target, 4, probability))
    assert {name: found[name] for name in metrics.scores(counted)} == pytest.approx(metrics.scores(counted))
    assert "iou_class2" not in found and "accuracy_class2" not in found
    assert found.notna().all()


@pytest.fixture
def masks(tmp_path: Path) -> tuple[Path, Path, list[pd.DataFrame]]:
    """Truths and predictions as a challenger hands them in, each image of its own size; and the counts of each."""
    random = np.random.default_rng(0)
    truth, prediction = tmp_path / "truth", tmp_path / "prediction"
    truth.mkdir()
    prediction.mkdir()
    tables = []
    for place, (true, right) in enumerate([(0.3, 0.9), (0.6, 0.97), (0, 1), (0, 0.9), (1, 1), (0.4, 0), (0.5, 0.8)]):
        size = 20 + place, 33 - place
        lesion = random.random(size) < true
        found = np.where(random.random(size) < right, lesion, ~lesion)
        if place == 5:
            found[:] = False
        for folder, mask in ((truth, lesion), (prediction, found)):
            Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f"ISIC_{place:07d}_segmentation.png")
        tables.append(table(*(torch.from_numpy(mask).long()[None] for mask in (found, lesion)), 2).assign(id=place))
    return truth, prediction, tables


def test_the_isic_challenges_own_scorer_agrees_in_the_mean(masks: tuple[Path, Path, list[pd.DataFrame]]) -> None:
    truth, prediction, tables = masks
    official = SegmentationScore.from_dir(truth, prediction).macro_average
    found = values(pd.concat(tables))
    assert set(official.index) == set(OFFICIAL)
    assert {ours: found[ours] for ours in OFFICIAL.values()} == pytest.approx(
        {ours: official[theirs] for theirs, ours in OFFICIAL.items()}, abs=1e-12
    )


def test_the_isic_challenges_own_scorer_agrees_image_by_image(masks: tuple[Path, Path, list[pd.DataFrame]]) -> None:
    truth, prediction, tables = masks
    for pair, counts in zip(iter_image_pairs(truth, prediction), tables, strict=True):
        official, found = SegmentationScore([pair]).macro_average, values(counts)
        for theirs, ours in OFFICIAL.items():
            assert found[ours] == pytest.approx(official[theirs], abs=1e-12), (pair.image_id, theirs)


@pytest.mark.parametrize("absent", [None, 2])
def test_torchmetrics_agrees_on_pooled_scores(absent: int | None) -> None:
    classes = 5
    prediction, target, _ = sample(classes) if absent is None else without(classes, absent)
    found = values(table(prediction, target, classes))
    settings = {"num_classes": classes, "ignore_index": IGNORED}
    expected = {
        "iou": MulticlassJaccardIndex(**settings, average="macro"),
        "dice": MulticlassF1Score(**settings, average="macro"),
        "dice_micro": MulticlassF1Score(**settings, average="micro"),
        "pixel_accuracy": MulticlassAccuracy(**settings, average="micro"),
        "class_accuracy": MulticlassAccuracy(**settings, average="macro"),
    }
    for name, metric in expected.items():
        assert found[name] == pytest.approx(float(metric(prediction, target)), abs=1e-6), name
    for name, metric in (("iou", MulticlassJaccardIndex), ("accuracy", MulticlassAccuracy)):
        for index, value in enumerate(metric(**settings, average="none")(prediction, target).tolist()):
            if index != absent:
                assert found[f"{name}_class{index}"] == pytest.approx(value, abs=1e-6)


def test_r4_by_its_words_from_torchmetrics_confusion_matrix() -> None:
    """Accuracy: trace over sum. IoU: TP / (row + column - TP), averaged."""
    prediction, target, _ = sample(3)
    matrix = MulticlassConfusionMatrix(3, ignore_index=IGNORED)(prediction, target).double()
    hits = matrix.diag()
    found = values(table(prediction, target, 3))
    assert found["pixel_accuracy"] == pytest.approx(float(hits.sum() / matrix.sum()))
    assert found["iou"] == pytest.approx(float((hits / (matrix.sum(0) + matrix.sum(1) - hits)).mean()))


def test_two_classes_with_background_are_torchmetrics_macro() -> None:
    prediction, target, _ = sample(2)
    found = values(table(prediction, target, 2))
    jaccard = MulticlassJaccardIndex(2, ignore_index=IGNORED, average="none")(prediction, target)
    assert found["iou_macro"] == pytest.approx(float(jaccard.mean()), abs=1e-6)
    assert found["iou_pooled"] == pytest.approx(float(jaccard[1]), abs=1e-6)
    f1 = MulticlassF1Score(2, ignore_index=IGNORED, average="none")(prediction, target)
    assert (found["dice_macro"], found["dice_pooled"]) == pytest.approx((float(f1.mean()), float(f1[1])), abs=1e-6)


def test_smps_example_on_pets() -> None:
    smp = pytest.importorskip("segmentation_models_pytorch")
    prediction, target, _ = sample(2)
    target[target == IGNORED] = 0
    target[3], prediction[3] = 0, 0
    parts = smp.metrics.get_stats(prediction.unsqueeze(1), target.unsqueeze(1), mode="binary")
    found = values(table(prediction, target, 2))
    assert found["iou"] == pytest.approx(smp.metrics.iou_score(*parts, reduction="micro-imagewise").item(), abs=1e-6)
    assert found["iou_pooled"] == pytest.approx(smp.metrics.iou_score(*parts, reduction="micro").item(), abs=1e-6)


def test_r3_by_hand() -> None:
    """Two images of two pixels, foreground at the first: p = (0.8, 0.4), then (0.5, 0)."""
    foreground = torch.tensor([[[0.8, 0.4]], [[0.5, 0.0]]], dtype=torch.float64)
    target = torch.tensor([[[1, 0]], [[1, 0]]])
    probability = torch.stack([1 - foreground, foreground], dim=1)
    found = values(table((foreground > 0.5).long(), target, 2, probability))
    assert found["soft_iou"] == pytest.approx((0.8 / 1.4 + 0.5 / 1.0) / 2)
    assert found["soft_dice"] == pytest.approx((1.6 / 2.2 + 1.0 / 1.5) / 2)
    assert found["soft_iou_pooled"] == pytest.approx(1.3 / (1.7 + 2 - 1.3))
    assert found["soft_dice_pooled"] == pytest.approx(2.6 / 3.7)
    assert (found["iou"], found["iou_pooled"], found["iou_lowest"]) == (0.5, 0.5, 0.0)


def test_three_classes_by_hand() -> None:
    """An image of four pixels, truth 0 0 1 2, taken for 0 1 1 2; and one of background alone, a pixel taken for 1."""
    prediction, target = torch.tensor([[[0, 1, 1, 2]], [[0, 0, 0, 1]]]), torch.tensor([[[0, 0, 1, 2]], [[0, 0, 0, 0]]])
    found = values(table(prediction, target, 3))
    assert found["iou"] == pytest.approx((4 / 6 + 1 / 3 + 1) / 3)
    assert found["iou_foreground"] == pytest.approx((1 / 3 + 1) / 2)
    assert found["iou_image"] == pytest.approx(((1 / 2 + 1 / 2 + 1) / 3 + (3 / 4 + 0) / 2) / 2)
    assert found["iou_image_foreground"] == pytest.approx(((1 / 2 + 1) / 2 + 0) / 2)
    assert found["iou_lowest"] == pytest.approx(3 / 8)
    assert found["dice_micro_foreground"] == pytest.approx(2 * 2 / (2 * 2 + 2 + 0))
    assert found["dice_micro"] == found["pixel_accuracy"] == 6 / 8
    assert found["class_accuracy"] == pytest.approx((4 / 6 + 1 + 1) / 3)


@pytest.mark.parametrize("classes", [2, 3])
def test_a_perfect_prediction_scores_one_by_every_definition(classes: int) -> None:
    _, target, _ = sample(classes)
    target[target == IGNORED] = 0
    target[0] = 0
    assert (values(table(target, target, classes)) == 1).all()


@pytest.mark.parametrize("classes", [2, 3])
def test_nothing_but_ignored_pixels_gives_a_number(classes: int) -> None:
    target = torch.full((2, 3, 3), IGNORED)
    assert (values(table(torch.ones(2, 3, 3, dtype=torch.int64), target, classes)) == 1).all()


def test_every_score_says_what_it_is() -> None:
    for classes in (2, 3):
        prediction, target, _ = sample(classes)
        rows = rosetta.scores(table(prediction, target, classes))
        assert list(rows) == rosetta.COLUMNS and rows["name"].is_unique
        assert rows["definition"].str.endswith(".").all()
        for system in ("R2", "R3", "R4", *(["R1", "ISIC 2016", "2017", "ISIC 2018"] if classes == 2 else [])):
            assert rows["used_by"].str.contains(system).any(), system


def test_the_order_of_the_rows_does_not_matter() -> None:
    counts = table(*sample(3)[:2], 3)
    shuffled = counts.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(rosetta.scores(shuffled), rosetta.scores(counts))


def test_two_sizes_are_never_mixed() -> None:
    small, large = table(*sample(2)[:2], 2), table(*sample(2, seed=1)[:2], 2)
    both = pd.concat([small.assign(size="train"), large.assign(size="native")])
    found = rosetta.by_size(both)
    pd.testing.assert_frame_equal(found["native"], rosetta.scores(large))
    pd.testing.assert_frame_equal(found["train"], rosetta.scores(small))
    assert list(rosetta.by_size(small)) == ["train"]
    with pytest.raises(ValueError, match="one size"):
        rosetta.scores(both)


def test_side_by_side_has_a_column_for_each_split_and_size(pets: Path) -> None:
    found = rosetta.side_by_side(str(pets), 0).set_index("name")
    assert list(found) == ["val", "test", "test_native", "definition", "used_by"]
    assert found.loc["iou_lowest", "val"] == pytest.approx(0.25)
    assert found.loc["pixel_accuracy", "test"] == found.loc["pixel_accuracy", "test_native"] == 155 / 200
    assert found["val"].notna().all()


def test_the_command_tells_of_the_best_trial(pets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert rosetta.main([str(pets)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["val", "test", "test_native", "used", "by"]
    iou = f"{(105 / 150 + 50 / 80 + 0) / 3:.4f}"
    assert lines[1].split() == ["iou", iou, iou, iou, "R2,", "R4,", "torchvision"]
    assert max(len(line) for line in lines) <= 100
    assert rosetta.main([str(pets), "--trial", "1", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["val"] == pytest.approx((105 / 150 + 50 / 80 + 0) / 3)


def test_the_command_refuses_in_one_line(pets: Path, begun: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([str(pets), "--trial", "9"], [str(begun)], [str(pets / "nowhere")]):
        assert rosetta.main(arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1
