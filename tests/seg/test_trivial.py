"""What no training gives, on images of four pixels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seg import metrics
from seg.evaluate import IMAGES_AT_ONCE, Trivial, trivial_predictions
from seg.pack import Pack

NAMES = {2: ("background", "lesion"), 3: ("background", "cat", "dog")}


def packed(classes: int, **splits: list[list[int]]) -> Pack:
    """A pack of 2×2 masks, each a list of its four pixels, by split."""
    masks = np.array([mask for found in splits.values() for mask in found], np.uint8).reshape(-1, 2, 2)
    names = tuple(name for name, found in splits.items() for _ in found)
    pixels = np.stack([(masks == index).sum((1, 2)) for index in range(classes)], 1)
    return Pack(
        folder=Path("nowhere"),
        key="key",
        dataset="made by hand",
        images_NHW3=np.zeros((*masks.shape, 3), np.uint8),
        masks_NHW=masks,
        ids=tuple(str(number) for number in range(len(masks))),
        splits=names,
        native_sizes_hw=np.full((len(masks), 2), 2, np.int64),
        class_names=NAMES[classes],
        class_pixels_NC=pixels,
    )


def scores(pack: Pack, which: int, split: str = "val") -> dict[str, float]:
    return metrics.scores(trivial_predictions(pack)[which].counts(pack, split))


BINARY = packed(
    2,
    train=[[0, 1, 1, 0], [0, 1, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0]],
    val=[[0, 1, 0, 1], [1, 1, 1, 1]],
    test=[[0, 0, 0, 0]],
)


def test_they_are_named_as_in_a_sentence() -> None:
    assert [one.name for one in trivial_predictions(BINARY)] == [
        "every pixel background",
        "every pixel foreground",
        "the mean training mask",
    ]


def test_all_background_has_no_object_right() -> None:
    """Of two images, one half and one wholly object: 2 of 8 pixels right."""
    found = scores(BINARY, 0)
    assert (found["iou"], found["dice"], found["pixel_accuracy"]) == (0, 0, 0.25)
    assert (found["sensitivity"], found["specificity"], found["soft_iou"]) == (0, 1, 0)
    assert scores(BINARY, 0, "test")["iou"] == 1, "empty against empty"


def test_all_foreground_has_the_object_s_share() -> None:
    """IoU 2/4 and 4/4; Dice 2·2/(4 + 2) and 1."""
    found = scores(BINARY, 1)
    assert found["iou"] == found["soft_iou"] == 0.75
    assert found["dice"] == pytest.approx((2 / 3 + 1) / 2) and found["pixel_accuracy"] == 0.75
    assert scores(BINARY, 1, "test")["iou"] == 0


def test_the_mean_mask_has_what_half_of_the_training_masks_have() -> None:
    """Places are object in 0, 3, 2 and 1 of four training masks: two of four are enough."""
    mean = trivial_predictions(BINARY)[2]
    assert mean.mask_SS.tolist() == [[0, 1], [1, 0]] and mean.mask_SS.dtype == np.uint8
    found = scores(BINARY, 2)
    assert found["iou"] == pytest.approx((1 / 3 + 2 / 4) / 2)
    assert found["pixel_accuracy"] == (2 + 2) / 8


def test_of_more_classes_the_most_frequent_other_one_and_each_place_s_own() -> None:
    """Training pixels: 3 cats, 5 dogs; test masks count for nothing."""
    pack = packed(
        3,
        train=[[0, 1, 2, 2], [0, 1, 2, 2], [0, 1, 2, 0]],
        val=[[0, 1, 2, 2], [0, 1, 1, 1]],
        test=[[1, 1, 1, 1]] * 9,
    )
    background, dogs, places = trivial_predictions(pack)
    assert dogs.name == "every pixel dog" and (dogs.mask_SS == 2).all()
    assert places.name == "the most frequent class of each place"
    assert places.mask_SS.tolist() == [[0, 1], [2, 2]]
    # Pooled over both images: background 2, cat 4, dog 2 pixels.
    assert scores(pack, 0)["iou"] == pytest.approx((2 / 8 + 0 + 0) / 3)
    assert scores(pack, 1)["iou"] == pytest.approx((0 + 0 + 2 / 8) / 3)
    assert scores(pack, 2)["iou"] == pytest.approx((2 / 2 + 2 / 4 + 2 / 4) / 3)
    confusion = places.counts(pack, "val").confusion
    assert confusion is not None and confusion.tolist() == [[2, 0, 0], [0, 2, 2], [0, 0, 2]]
    assert background.classes == 3


def test_ignored_pixels_count_for_nothing() -> None:
    """Neither in what is frequent nor in what is right."""
    pack = packed(2, train=[[255, 255, 1, 0], [255, 1, 0, 0]], val=[[1, 255, 255, 0]], test=[[255] * 4])
    mean = trivial_predictions(pack)[2]
    assert mean.mask_SS.tolist() == [[1, 1], [1, 0]], "a place of no class, and one of both, is taken for the object"
    assert scores(pack, 2) == scores(pack, 2) | {"iou": 1, "pixel_accuracy": 1}
    assert scores(pack, 1)["iou"] == 0.5 and scores(pack, 0)["pixel_accuracy"] == 0.5
    everything_ignored = trivial_predictions(pack)[1].counts(pack, "test")
    assert everything_ignored.hard.sum() == 0 and everything_ignored.soft[..., 2].sum() == 0


def test_soft_counts_are_those_of_certain_probabilities() -> None:
    mean = trivial_predictions(BINARY)[2].counts(BINARY, "val")
    expected = [[[1, 2, 2], [1, 2, 2]], [[0, 2, 0], [2, 2, 4]]]
    assert mean.soft.tolist() == expected and mean.soft.dtype == torch.float64


def test_a_mask_is_brought_to_an_image_s_own_size() -> None:
    """Without new values between classes; probabilities are 0 or 1."""
    one = Trivial("a", np.array([[0, 1], [2, 0]], np.uint8), 3)
    found = one.probabilities(np.zeros((4, 6, 3), np.uint8))
    assert found.shape == (3, 4, 6) and set(found.unique().tolist()) == {0, 1} and (found.sum(0) == 1).all()
    assert found.argmax(0).tolist() == [[0] * 3 + [1] * 3] * 2 + [[2] * 3 + [0] * 3] * 2


def test_many_images_are_counted_in_parts(monkeypatch: Any) -> None:
    many = packed(2, train=[[0, 1, 1, 0]] * (IMAGES_AT_ONCE + 7), val=[[0, 1, 1, 1]] * (2 * IMAGES_AT_ONCE + 3))
    whole = [one.counts(many, "val") for one in trivial_predictions(many)]
    monkeypatch.setattr("seg.evaluate.IMAGES_AT_ONCE", 10)
    for one, found in zip(trivial_predictions(many), whole, strict=True):
        again = one.counts(many, "val")
        assert torch.equal(again.hard, found.hard) and torch.equal(again.soft, found.soft)
        assert len(found.hard) == 2 * IMAGES_AT_ONCE + 3


def test_a_real_pack_s_are_of_its_size(tiny_pack: Pack) -> None:
    for one in trivial_predictions(tiny_pack):
        assert one.mask_SS.shape == (64, 64)
        assert len(one.counts(tiny_pack, "test").hard) == len(tiny_pack.indices("test"))
