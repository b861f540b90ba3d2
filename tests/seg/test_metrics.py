import numpy as np
import pytest
import torch

from seg import metrics
from seg.metrics import Counts, count, count_soft, dice, iou, scores


def naive(prediction: np.ndarray, target: np.ndarray, classes: int) -> np.ndarray:
    counts = np.zeros((len(target), classes, 4), np.int64)
    for n, (p_image, t_image) in enumerate(zip(prediction, target, strict=True)):
        for p, t in zip(p_image.ravel(), t_image.ravel(), strict=True):
            if t == 255:
                continue
            for c in range(classes):
                place = metrics.TP if p == c == t else metrics.FP if p == c else metrics.FN if t == c else metrics.TN
                counts[n, c, place] += 1
    return counts


@pytest.mark.parametrize("classes", [2, 3, 6])
@pytest.mark.parametrize("seed", range(5))
def test_counts_agree_with_counting_pixel_by_pixel(classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    prediction, target = rng.integers(0, classes, (2, 4, 7, 5))
    target[rng.random(target.shape) < 0.1] = 255
    found = count(torch.from_numpy(prediction), torch.from_numpy(target), classes)
    assert found.dtype == torch.int64
    assert np.array_equal(found.numpy(), naive(prediction, target, classes))


def test_image_iou_leaves_out_classes_that_are_not_there() -> None:
    target = torch.tensor([[[0, 0, 1, 1]], [[0, 0, 0, 0]]])
    prediction = torch.tensor([[[0, 1, 1, 1]], [[0, 0, 0, 0]]])
    soft = torch.zeros(2, 4, 3, dtype=torch.float64)
    assert metrics.image_iou(Counts(count(prediction, target, 4), soft)).tolist() == [(1 / 2 + 2 / 3) / 2, 1.0]
    assert metrics.image_iou(Counts(count(prediction, target, 2), soft)).tolist() == pytest.approx([2 / 3, 1.0])


def test_image_iou_of_an_image_without_a_counted_pixel_is_no_failure() -> None:
    nothing = torch.full((1, 2, 2), 255)
    hard = count(torch.zeros(1, 2, 2, dtype=torch.int64), nothing, 3)
    assert metrics.image_iou(Counts(hard, torch.zeros(1, 3, 3, dtype=torch.float64))).tolist() == [1.0]


def test_confusion_by_hand() -> None:
    target = torch.tensor([[[0, 0, 1], [2, 2, 255]]])
    prediction = torch.tensor([[[0, 1, 1], [1, 2, 0]]])
    assert metrics.confusion(prediction, target, 3).tolist() == [[[1, 1, 0], [0, 1, 0], [0, 1, 1]]]


def test_counts_of_batches_join_to_counts_of_the_whole() -> None:
    prediction, target = torch.randint(0, 2, (2, 6, 4, 4))
    halves = [count(prediction[part], target[part], 2) for part in (slice(0, 2), slice(2, 6))]
    assert torch.equal(torch.cat(halves), count(prediction, target, 2))


def test_empty_against_empty_is_one() -> None:
    nothing = torch.tensor([0, 0, 0, 9])
    assert iou(nothing) == dice(nothing) == 1


def test_ratios_by_hand() -> None:
    counts = torch.tensor([[3, 1, 2, 10], [0, 0, 5, 1]])
    assert iou(counts).tolist() == [0.5, 0.0]
    assert dice(counts).tolist() == [6 / 9, 0.0]


def binary(prediction: torch.Tensor, probability: torch.Tensor, target: torch.Tensor) -> dict[str, float]:
    both = torch.stack([1 - probability, probability], dim=1)
    return scores(Counts(count(prediction, target, 2), count_soft(both, target)))


def test_binary_iou_is_per_image_then_the_mean() -> None:
    target = torch.tensor([[[1, 1], [1, 1]], [[1, 0], [0, 0]]])
    prediction = torch.tensor([[[1, 1], [1, 1]], [[0, 0], [0, 0]]])
    found = binary(prediction, prediction.double(), target)
    assert found["iou"] == 0.5 and found["dice"] == 0.5
    assert found["iou_pooled"] == 4 / 5
    assert found["pixel_accuracy"] == 7 / 8
    assert found["sensitivity"] == 0.5 and found["specificity"] == 1.0


def test_soft_scores_use_probabilities() -> None:
    target = torch.tensor([[[1, 0]]])
    found = binary(torch.tensor([[[1, 0]]]), torch.tensor([[[0.75, 0.25]]], dtype=torch.float64), target)
    assert found["iou"] == 1
    assert found["soft_iou"] == pytest.approx(0.75 / (1 + 1 - 0.75))
    assert found["soft_dice"] == pytest.approx(1.5 / 2)


def test_soft_sums_leave_ignored_pixels_out() -> None:
    target = torch.tensor([[[1, 255]]])
    sums = count_soft(torch.full((1, 2, 1, 2), 0.5), target)
    assert sums[0].tolist() == [[0.0, 0.5, 0.0], [0.5, 0.5, 1.0]]


def test_multiclass_macro_leaves_absent_classes_out() -> None:
    target = torch.tensor([[[0, 0, 1, 1]]])
    prediction = torch.tensor([[[0, 1, 1, 1]]])
    hard = count(prediction, target, 4)
    found = scores(Counts(hard, torch.zeros(1, 4, 3, dtype=torch.float64)))
    assert found["iou"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert found["iou_foreground"] == pytest.approx(2 / 3)
    assert found["pixel_accuracy"] == 3 / 4
    assert "iou_class2" not in found


def test_multiclass_perfect_is_one() -> None:
    target = torch.randint(0, 3, (2, 8, 8))
    found = scores(Counts(count(target, target, 3), torch.ones(2, 3, 3, dtype=torch.float64)))
    assert found["iou"] == found["dice"] == found["pixel_accuracy"] == 1


def multiclass(prediction: list[int], target: list[int], classes: int) -> dict[str, float]:
    images = [torch.tensor([[values]]) for values in (prediction, target)]
    return scores(Counts(count(*images, classes), torch.zeros(1, classes, 3, dtype=torch.float64)))


def test_class_accuracy_is_over_the_classes_that_are_there() -> None:
    """A class that is predicted but nowhere in the truth has no accuracy; it is not a perfect one."""
    found = multiclass([0, 1, 2, 2], [0, 1, 1, 1], classes=4)
    assert found["class_accuracy"] == pytest.approx((1 + 1 / 3) / 2)
    each = {name: value for name, value in found.items() if name.startswith("accuracy_class")}
    assert each == {"accuracy_class0": 1.0, "accuracy_class1": pytest.approx(1 / 3)}
    assert found["iou"] == pytest.approx((1 + 1 / 3 + 0) / 3)


def test_no_foreground_anywhere_is_one_and_never_a_nan() -> None:
    found = multiclass([0, 0], [0, 0], classes=3)
    assert found["iou_foreground"] == found["dice_foreground"] == 1
    assert all(value == value for value in found.values())
    assert all(value == value for value in multiclass([0, 1], [255, 255], classes=3).values())


def test_scores_have_the_names_that_records_keep() -> None:
    both = {"iou", "dice", "pixel_accuracy", "soft_iou", "soft_dice"}
    zeros = torch.zeros(1, 2, 3, dtype=torch.float64)
    one = torch.ones(1, 1, 1, dtype=torch.int64)
    assert scores(Counts(count(one, one, 2), zeros)).keys() == both | {"iou_pooled", "sensitivity", "specificity"}
    per_class = {"iou_class0", "iou_class2", "accuracy_class0", "accuracy_class2"}
    assert multiclass([0, 2], [0, 2], classes=3).keys() == both | per_class | {
        "class_accuracy",
        "iou_foreground",
        "dice_foreground",
    }


def test_soft_sums_are_added_in_double_precision() -> None:
    probability, target = torch.rand(1, 2, 256, 256), torch.randint(0, 2, (1, 256, 256))
    target[:, :9] = 255
    sums = count_soft(probability, target)
    for c in range(2):
        p, t = probability[0, c, 9:].double().numpy(), (target[0, 9:] == c).numpy()
        assert sums[0, c].tolist() == pytest.approx([(p * t).sum(), p.sum(), t.sum()], rel=1e-12)
