"""Intervals and paired tests: against scipy, against what is known, and how often they err."""

import numpy as np
import pytest
from scipy import stats

from analysis.scores import uncertainty
from analysis.scores.definitions import BINARY, MULTICLASS
from analysis.scores.ratios import Additive, Lowest, Mean, Pooled, Sums

SCORES = [definition for definition in (*BINARY, *MULTICLASS) if isinstance(definition.score, Additive)]
IMAGES = 60


def made(seed: int, quality: float = 0.8, images: int = IMAGES, classes: int = 2) -> Sums:
    """Counts of a model that finds about `quality` of every class of every image."""
    rng = np.random.default_rng(seed)
    size = rng.integers(50, 2000, (images, classes))
    tp = (size * rng.normal(quality, 0.1, (images, classes)).clip(0, 1)).astype(int)
    fp = (size * rng.uniform(0, 0.3, (images, classes))).astype(int)
    hard = np.stack([tp, fp, size - tp, 9000 - size - fp], axis=-1).astype(float)
    return Sums(hard, np.stack([tp, tp + fp, size], axis=-1) * 0.9)


def of_numbers(values: np.ndarray) -> tuple[Sums, Mean]:
    """Sums of images that have one number each, and the score that is their mean."""
    hard = np.zeros((len(values), 1, 4))
    hard[:, 0, 0] = values
    return Sums(hard, np.zeros((len(values), 1, 3))), Mean(lambda sums: sums.hard[:, 0, 0])


@pytest.mark.parametrize("definition", SCORES, ids=lambda definition: definition.name)
def test_a_score_of_added_parts_is_the_score_of_the_images_together(definition):
    sums = made(0, classes=2 if definition in BINARY else 4)
    drawn = np.random.default_rng(1).integers(0, IMAGES, IMAGES)
    weights = np.bincount(drawn, minlength=IMAGES)

    whole = definition.score.of(Sums(sums.hard[drawn], sums.soft[drawn]))

    assert float(definition.score.whole(weights @ definition.score.parts(sums))) == pytest.approx(whole, abs=1e-12)


def test_the_interval_of_a_mean_is_that_of_scipy():
    values = np.random.default_rng(2).beta(8, 2, 200)
    sums, score = of_numbers(values)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=3).confidence_interval

    assert uncertainty.interval(sums, score, draws=20_000) == pytest.approx(tuple(theirs), abs=5e-4)


def test_intervals_of_many_scores_at_once_are_those_of_each_alone():
    sums = made(6)
    scores = [definition.score for definition in BINARY if isinstance(definition.score, Additive)]

    together = uncertainty.intervals(sums, scores)

    assert np.allclose(together, [uncertainty.interval(sums, score) for score in scores], atol=1e-12)


def test_a_paired_test_is_that_of_scipy():
    rng = np.random.default_rng(4)
    first = rng.beta(8, 2, 50)
    second = first - rng.normal(0.01, 0.04, 50)
    (one, score), (other, _) = of_numbers(first), of_numbers(second)
    theirs = stats.permutation_test(
        (first, second),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        vectorized=True,
        permutation_type="samples",
        n_resamples=20_000,
        rng=5,
    )

    found = uncertainty.difference(one, other, score, swaps=20_000)

    assert found.p == pytest.approx(theirs.pvalue, abs=0.01)
    assert found.value == pytest.approx(np.mean(first - second))
    assert found.low < found.value < found.high


def test_several_seeds_are_compared_by_their_mean_on_each_image():
    rng = np.random.default_rng(8)
    first, second = rng.beta(8, 2, (3, 60)), rng.beta(7, 2, (2, 60))
    score = of_numbers(first[0])[1]
    seeds, others = ([of_numbers(values)[0] for values in model] for model in (first, second))
    means = of_numbers(first.mean(0))[0], of_numbers(second.mean(0))[0]

    found, expected = uncertainty.difference(seeds, others, score), uncertainty.difference(*means, score)
    assert [*vars(found).values()] == pytest.approx([*vars(expected).values()])
    assert uncertainty.interval(seeds, score) == pytest.approx(uncertainty.interval(means[0], score))
    assert uncertainty.value(seeds, score) == pytest.approx(first.mean())


def test_few_images_are_tested_exactly():
    """Of four images all won, 2 of 16 orders are as far apart."""
    (one, score), (other, _) = of_numbers(np.array([0.9, 0.8, 0.7, 0.9])), of_numbers(np.array([0.5, 0.6, 0.6, 0.4]))

    assert uncertainty.difference(one, other, score).p == pytest.approx(2 / 16, abs=0.01)


def test_a_model_does_not_differ_from_itself():
    found = uncertainty.difference(made(0), made(0), BINARY[0].score)

    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_a_score_of_pooled_counts_is_tested_by_swapping_counts():
    """A large image weighs more in a pooled score: the same images lost decide less the smaller they are."""
    score = next(d.score for d in BINARY if d.name == "iou_pooled")
    assert isinstance(score, Pooled)
    good, bad = made(6, 0.9), made(6, 0.7)

    assert uncertainty.difference(good, bad, score).p < 0.001
    assert uncertainty.difference(good, made(7, 0.9), score).p > 0.05


def test_the_lowest_image_has_no_interval():
    assert [d.name for d in (*BINARY, *MULTICLASS) if isinstance(d.score, Lowest)] == ["iou_lowest", "iou_lowest"]


def test_counts_of_other_images_are_refused():
    with pytest.raises(ValueError, match="must be of the same images"):
        uncertainty.difference(made(0), made(0, images=10), BINARY[0].score)


@pytest.mark.parametrize("name", ["iou", "iou_pooled"])
def test_equal_models_are_told_apart_as_rarely_as_promised(name):
    """200 pairs of equally good models: 5 % of the tests may err, give or take what 200 draws vary by."""
    score = next(d.score for d in BINARY if d.name == name)
    found = [uncertainty.difference(made(2 * i), made(2 * i + 1), score, draws=1, swaps=400).p for i in range(200)]

    errors = sum(p < uncertainty.ALPHA for p in found)
    assert stats.binomtest(errors, 200, uncertainty.ALPHA).pvalue > 0.01


def test_an_interval_holds_the_truth_as_often_as_promised():
    """200 samples of 100 images; the percentile bootstrap's 95 % is a little less for a skewed mean."""
    rng = np.random.default_rng(8)
    held = 0
    for _ in range(200):
        sums, score = of_numbers(rng.beta(8, 2, 100))
        low, high = uncertainty.interval(sums, score, draws=1000)
        held += low <= 0.8 <= high

    assert stats.binomtest(held, 200, 0.94).pvalue > 0.01


def test_holm_is_the_textbook_example():
    """Four tests at 0.05: multiplied by 4, 3, 2, 1 from the smallest on, never below the one before."""
    assert uncertainty.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert uncertainty.holm([]) == []
    assert uncertainty.holm([0.6, 0.9]) == [1.0, 1.0]


def test_letters_say_who_is_not_told_apart():
    differ = {(1, 2): False, (1, 3): True, (1, 4): True, (2, 3): False, (2, 4): True, (3, 4): False}

    assert uncertainty.letters([1, 2, 3, 4], differ) == {1: "a", 2: "ab", 3: "bc", 4: "c"}


def test_there_are_letters_enough():
    """Forty models, each significantly different from all but its neighbours."""
    models = list(range(40))
    differ = {(i, j): j - i > 1 for i in models for j in models if i < j}

    found = uncertainty.letters(models, differ)
    assert all((not set(found[i]) & set(found[j])) == apart for (i, j), apart in differ.items())


@pytest.mark.parametrize("seed", range(20))
def test_two_models_share_a_letter_exactly_where_they_are_not_told_apart(seed):
    rng = np.random.default_rng(seed)
    models = list(range(7))
    differ = {(i, j): bool(rng.random() < 0.4) for i in models for j in models if i < j}

    found = uncertainty.letters(models, differ)

    for (i, j), apart in differ.items():
        assert apart == (not set(found[i]) & set(found[j]))
