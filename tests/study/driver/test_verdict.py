"""Which trial a study chooses, and what it says of the result: on counts that are made by hand."""

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from seg import metrics
from seg.metrics import Counts
from study.driver import leaderboard, verdict
from study.driver.verdict import Choice, choose, difference, give, interval, warnings
from study.spec import Spec, load_spec
from study.store import Store, counts
from study.store.records import RECIPE, Record, State

PIXELS = 100
ENOUGH = {"train": 700, "val": 180, "test": 379}


def of_ious(ious: Sequence[float]) -> Counts:
    """Two classes; each image has 100 pixels of the object and of nothing else, of which so many are found."""
    hits = torch.tensor([round(PIXELS * iou) for iou in ious])
    zero = torch.zeros_like(hits)
    lesion = torch.stack([hits, zero, PIXELS - hits, zero], 1)
    background = torch.stack([zero, PIXELS - hits, zero, hits], 1)
    soft = torch.stack([hits, hits, zero + PIXELS], 1).double()
    return Counts(torch.stack([background, lesion], 1), torch.stack([soft, soft], 1))


@pytest.fixture
def store(tmp_path: Any) -> Store:
    return Store(str(tmp_path))


@pytest.fixture
def spec() -> Spec:
    return load_spec("isic")


Made = Callable[..., Record]


@pytest.fixture
def made(store: Store, make_record: Any) -> Made:
    """made(trial, ious): a finished trial with these validation scores, image by image, and its counts in the store."""

    def make(trial: int, ious: Sequence[float], source: str = "search", state: State = State.COMPLETE) -> Record:
        found = of_ious(ious)
        record: Record = make_record(trial, state, [metrics.scores(found)["iou"]], source=source)
        write(store, record, "val_counts", found)
        return record

    return make


def write(store: Store, record: Record, kind: str, found: Counts) -> None:
    table = counts.to_table([f"{number:04d}" for number in range(len(found.hard))], found)
    sized = table if kind == "val_counts" else pd.concat([table.assign(size=size) for size in ("train", "native")])
    record.files[kind] = f"{kind}.parquet"
    store.write(record.path(kind), counts.to_parquet(sized))


def alternating(images: int, mean: float, swing: float, by: float = 0.5) -> list[float]:
    """Scores of that mean, one image that much better, the next that much worse."""
    return [by + mean + (swing if number % 2 == 0 else -swing) for number in range(images)]


# Which trial


def test_the_recipe_is_kept_where_another_leads_within_the_noise(store: Store, spec: Spec, made: Made) -> None:
    """By 0.01, of which the standard error on 40 images is 0.2/√40 = 0.032."""
    records = [made(0, [0.5] * 40, RECIPE), made(1, alternating(40, 0.01, 0.2)), made(2, [0.4] * 40)]
    choice = choose(store, records, spec)
    assert choice is not None and choice.trial == 0
    assert choice.reason.startswith("trial 1 leads the recipe by 0.0100 (-0.0")
    assert choice.reason.endswith(" on 40 validation images, which is not beyond doubt")


def test_another_is_chosen_where_it_is_better_beyond_its_standard_error(store: Store, spec: Spec, made: Made) -> None:
    """By 0.05: more than 0.032, though the interval holds zero."""
    records = [made(0, [0.5] * 40, RECIPE), made(1, alternating(40, 0.05, 0.2)), made(2, [0.51] * 40)]
    choice = choose(store, records, spec)
    assert choice is not None and choice.trial == 1
    assert choice.reason.startswith("trial 1 is better than the recipe by 0.0500 (-0.0")


@pytest.mark.parametrize(("images", "chosen"), [(28, 0), (30, 1)])
def test_on_few_images_a_lead_must_leave_zero_out_of_its_interval(
    images: int, chosen: int, store: Store, spec: Spec, made: Made
) -> None:
    """By 0.03, which is 1.6 standard errors: enough from 30 images on."""
    records = [made(0, [0.5] * images, RECIPE), made(1, alternating(images, 0.03, 0.1))]
    found = choose(store, records, spec)
    assert found is not None and found.trial == chosen


@pytest.mark.parametrize(("images", "chosen"), [(1, 0), (2, 0), (5, 0), (6, 1), (29, 1)])
def test_on_few_images_another_may_be_better_beyond_doubt_on_five_none(
    images: int, chosen: int, store: Store, spec: Spec, made: Made
) -> None:
    """Better on every one of them: of five images, chance does so in one of sixteen cases."""
    records = [made(0, [0.5] * images, RECIPE), made(1, [0.55 + 0.01 * (number % 3) for number in range(images)])]
    choice = choose(store, records, spec)
    assert choice is not None and choice.trial == chosen


def test_the_recipe_is_chosen_where_it_leads_and_where_another_equals_it(store: Store, spec: Spec, made: Made) -> None:
    for other in (0.4, 0.5):
        choice = choose(store, [made(0, [0.5] * 40, RECIPE), made(1, [other] * 40)], spec)
        assert choice == Choice(0, verdict.AHEAD)
    recipe = made(0, [0.5] * 40, RECIPE)
    assert choose(store, [recipe], spec) == Choice(0, verdict.ALONE)
    assert choose(store, [recipe], spec, finished=3) == Choice(0, verdict.AHEAD), "the only finalist of three trials"


@pytest.mark.parametrize("state", [State.FAILED, State.INFEASIBLE, State.RUNNING])
def test_without_a_finished_recipe_the_best_other(state: State, store: Store, spec: Spec, made: Made) -> None:
    records = [made(0, [0.9] * 40, RECIPE, state), made(1, [0.5] * 40), made(2, [0.6] * 40)]
    assert choose(store, records, spec) == Choice(2, "trial 2 is the best on the validation images")
    assert choose(store, records[:1], spec) is None and choose(store, [], spec) is None


def test_a_recipe_whose_counts_are_lost_is_compared_with_nothing(store: Store, spec: Spec, made: Made) -> None:
    """It leads: no other is said to be better."""
    recipe = made(0, [0.9] * 40, RECIPE)
    recipe.files.clear()
    choice = choose(store, [recipe, made(1, [0.5] * 40)], spec)
    assert choice is not None and choice.trial == 0


def test_a_loss_has_no_counts_the_best_one_counts(store: Store, made: Made) -> None:
    spec = load_spec("isic", ["objective={metric: val_loss, mode: min}"])
    records = [made(0, [0.5] * 40, RECIPE), made(1, [0.5] * 40)]
    for record, loss in zip(records, (0.31, 0.30), strict=True):
        record.epochs[0]["val_loss"] = loss
    choice = choose(store, records, spec)
    assert choice == Choice(1, "trial 1 is better than the recipe on the validation images")


def test_with_several_objectives_the_best_by_the_first(store: Store, made: Made) -> None:
    spec = load_spec("isic", ["objective=[{metric: val_iou}, {metric: latency_ms, mode: min}]"])
    records = [made(0, [0.5] * 40, RECIPE), made(1, alternating(40, 0.01, 0.2))]
    for record in records:
        record.latency_ms = 5.0
    choice = choose(store, records, spec)
    assert choice is not None and choice.trial == 1


@pytest.mark.parametrize("seed", range(40))
def test_a_choice_s_validation_score_is_never_below_the_recipe_s(
    seed: int, store: Store, spec: Spec, made: Made
) -> None:
    """With ties, lost counts and trials that were stopped, on few images and on many."""
    rng = random.Random(seed)
    images = rng.choice([2, 10, 29, 30, 60])

    def scores() -> list[float]:
        return [rng.randrange(40, 60) / 100 for _ in range(images)]

    records = [made(0, scores(), RECIPE)]
    states = [State.COMPLETE, State.COMPLETE, State.PRUNED, State.FAILED]
    records += [made(trial, rng.choice([scores(), scores()]), state=rng.choice(states)) for trial in range(1, 8)]
    for record in records:
        if rng.random() < 0.15:
            record.files.pop("val_counts")
    rng.shuffle(records)
    choice = choose(store, records, spec)
    by_trial = {record.trial: record for record in records}
    assert choice is not None and by_trial[choice.trial].state is State.COMPLETE
    assert by_trial[choice.trial].best["val_iou"] >= by_trial[0].best["val_iou"]


# Differences and their intervals


def test_a_difference_is_that_of_the_scores_and_its_error_that_of_a_mean() -> None:
    """Mean IoU: the standard error is s/√N, the interval about 1.96 of it to each side."""
    rng = np.random.default_rng(1)
    one, other = rng.integers(40, 90, 200) / 100, rng.integers(40, 90, 200) / 100
    found = difference(of_ious(one), of_ious(other), "iou")
    each = one - other
    error = each.std() / np.sqrt(len(each))
    assert found.value == pytest.approx(each.mean()) and found.error == pytest.approx(error, rel=0.1)
    assert found.low == pytest.approx(each.mean() - 1.96 * error, abs=0.25 * error)
    assert found.high == pytest.approx(each.mean() + 1.96 * error, abs=0.25 * error)
    assert difference(of_ious(one), of_ious(other), "iou") == found, "the same at every call"
    back = difference(of_ious(other), of_ious(one), "iou")
    assert (back.value, back.low, back.high) == pytest.approx((-found.value, -found.high, -found.low))
    low, high = interval(of_ious(one), "iou")
    assert low < one.mean() < high and high - low == pytest.approx(2 * 1.96 * one.std() / np.sqrt(200), rel=0.1)


@pytest.mark.parametrize(("low", "high", "sure"), [(0.1, 0.2, True), (-0.2, -0.1, True), (-0.1, 0.2, False)])
def test_it_is_sure_where_zero_is_left_out(low: float, high: float, sure: bool) -> None:
    assert verdict.Difference(0.1, low, high, 0.05).sure is sure


def test_a_class_that_few_images_have_is_missing_from_some_draws_alone() -> None:
    """Of four images one has class 2: a draw without it says nothing, the others still do."""
    one = torch.zeros(4, 3, 4, dtype=torch.int64)
    one[:, 0] = torch.tensor([50, 0, 0, 50])
    one[0, 2] = torch.tensor([30, 0, 20, 50])
    other = one.clone()
    other[0, 2] = torch.tensor([20, 0, 30, 50])
    soft = torch.ones(4, 3, 3, dtype=torch.float64)
    found = difference(Counts(one, soft), Counts(other, soft), "iou_class2")
    assert found.value == pytest.approx(0.2) and np.isfinite([found.low, found.high, found.error]).all()
    assert found.low > 0 and found.error < 0.2


# What is said


@pytest.fixture
def scored(store: Store, made: Made) -> Callable[..., Record]:
    """scored(trial, val, test): a trial with scores on both splits."""

    def make(trial: int, val: Sequence[float], test: Sequence[float], source: str = "search") -> Record:
        record = made(trial, val, source)
        write(store, record, "test_counts", of_ious(test))
        record.test = {"iou": 0.0, "native_iou": float(np.mean(test))}
        record.epochs = record.epochs * 60
        return record

    return make


TRIVIAL = {"every pixel background": of_ious([0.0] * 40), "the mean training mask": of_ious([0.3] * 40)}
PUBLISHED = "R3 experiment 1 (frozen)"


def test_the_whole_verdict_of_another_trial(store: Store, spec: Spec, scored: Any) -> None:
    records = [
        scored(0, [0.5] * 40, [0.60] * 40, RECIPE),
        scored(3, [0.4] * 40, alternating(40, 0.0, 0.3, by=0.62), PUBLISHED),
        scored(7, [0.7] * 40, [0.64] * 40),
    ]
    choice = choose(store, records, spec)
    assert choice is not None and choice.trial == 7
    found = give(store, spec, records, choice, TRIVIAL, {"train": 700, "val": 40, "test": 40})
    assert (found["trial"], found["recipe"], found["metric"], found["trivial"]) == (
        7,
        False,
        "iou",
        "the mean training mask",
    )
    assert (found["score"], found["low"], found["high"]) == pytest.approx((0.64, 0.64, 0.64))
    assert found["trivial_score"] == pytest.approx(0.3) and found["over_trivial"]["value"] == pytest.approx(0.34)
    assert found["over_recipe"]["value"] == pytest.approx(0.04) and found["over_recipe"]["low"] > 0
    assert list(found["over_published"]) == [PUBLISHED]
    assert found["warnings"] == []
    first, second, third, fourth, fifth = found["sentences"]
    assert first == ("The choice is trial 7: test IoU 0.640 (95 % interval 0.640 to 0.640, 40 images at native size).")
    assert second == (
        "Without any training: 0.300 (the mean training mask). "
        "The choice is better than that by 0.340 (+0.340 to +0.340)."
    )
    assert third.startswith("Why this trial: trial 7 is better than the recipe by 0.2000 (")
    assert fourth == "On the test images it is better than the recipe by 0.040 (+0.040 to +0.040)."
    assert fifth.startswith(f"It is not significantly different from published {PUBLISHED}: +0.020 (-0.0")
    assert json.loads(json.dumps(found)) == found


def test_the_verdict_of_the_recipe_compares_it_with_no_other_recipe(store: Store, spec: Spec, scored: Any) -> None:
    recipe = scored(0, [0.5] * 40, [0.60] * 40, RECIPE)
    found = give(store, spec, [recipe], Choice(0, "because"), TRIVIAL, ENOUGH)
    assert found["recipe"] and "over_recipe" not in found and found["over_published"] == {}
    assert found["sentences"][0].startswith("The choice is the recipe: test IoU 0.600 (")
    assert found["sentences"][2] == "Why this trial: because."


def test_what_is_worse_than_no_training_is_said_in_capitals(store: Store, spec: Spec, scored: Any) -> None:
    recipe = scored(0, [0.2] * 40, [0.20] * 40, RECIPE)
    found = give(store, spec, [recipe], Choice(0, "because"), TRIVIAL, ENOUGH)
    assert "The choice is WORSE than that by 0.100 (-0.100 to -0.100)." in found["sentences"][1]


def test_a_choice_that_was_not_scored_says_so(store: Store, spec: Spec, made: Made) -> None:
    found = give(store, spec, [made(0, [0.5] * 40, RECIPE)], Choice(0, "because"), TRIVIAL, ENOUGH)
    assert found["sentences"] == ["The choice is the recipe: because. It was not scored on test images."]
    assert "score" not in found


def test_an_objective_that_is_no_score_of_counts_is_judged_by_iou(store: Store, scored: Any) -> None:
    spec = load_spec("isic", ["objective={metric: val_loss, mode: min}"])
    found = give(store, spec, [scored(0, [0.5], [0.6] * 40, RECIPE)], Choice(0, "because"), TRIVIAL, ENOUGH)
    assert found["metric"] == "iou"
    dice = load_spec("isic", ["objective={metric: val_dice, mode: max}"])
    found = give(store, dice, [scored(0, [0.5], [0.6] * 40, RECIPE)], Choice(0, "because"), TRIVIAL, ENOUGH)
    assert found["metric"] == "dice" and found["score"] == pytest.approx(2 * 0.6 / 1.6)
    assert "test Dice 0.750" in found["sentences"][0]


@pytest.mark.parametrize(
    ("images", "epochs", "expected"),
    [
        ({"train": 700, "val": 30, "test": 30}, 9, []),
        ({"train": 700, "val": 29, "test": 30}, 9, ["only 29 validation images: which trial is best is largely luck"]),
        ({"train": 700, "val": 30, "test": 12}, 9, ["only 12 test images: the interval is wide"]),
        # 17 images in batches of 16 are two steps.
        ({"train": 17, "val": 30, "test": 30}, 50, []),
        ({"train": 17, "val": 30, "test": 30}, 49, ["only 98 optimiser steps of training: too few to judge"]),
        ({"train": 8, "val": 4, "test": 3}, 2, ["only 4 validation", "only 3 test images", "only 2 optimiser steps"]),
    ],
)
def test_what_keeps_a_reader_from_relying_on_it(
    images: dict[str, int], epochs: int, expected: list[str], make_record: Any
) -> None:
    record = make_record(0, values=[0.5] * epochs)
    assert record.experiment["batch_size"] == 16
    found = warnings(record, images)
    assert len(found) == len(expected)
    assert all(one.startswith(start) for one, start in zip(found, expected, strict=True))


def test_lines_for_a_terminal() -> None:
    assert leaderboard.verdict({}) == [] and leaderboard.verdict({"verdict": None}) == []
    found = {"sentences": ["One.", "Two."], "warnings": ["only 3 test images"]}
    assert leaderboard.verdict({"verdict": found}) == ["One.", "Two.", "warning: only 3 test images"]
