"""What choices do to the score: on generated trials of which the truth is known."""

import numpy as np
import pytest
from generated import SPACE, trials
from scipy import stats

from analysis import load
from analysis.hyperparameters import effects, linear
from analysis.hyperparameters.effects import Effect


def by_name(found: list[Effect]) -> dict[str, Effect]:
    return {one.choice: one for one in found}


def test_every_choice_is_looked_at_where_it_exists():
    table = trials(0)
    found = by_name(effects.effects(table))

    assert set(found) == {*SPACE, "loss_dice_weight"}
    assert found["encoder_lr"].trials == (~table["encoder_freeze"]).sum()
    assert [point.value for point in found["model"].points] == ["deep", "plain", "skip"]
    assert sum(point.trials for point in found["model"].points) == 60
    assert len(found["decoder_lr"].points) == linear.GRID


def test_a_planted_choice_is_found_and_measured():
    found = by_name(effects.effects(trials(1, model=lambda model: 0.04 * (model == "skip"))))

    assert [name for name, one in found.items() if one.matters] == ["model"]
    assert found["model"].best(ascending=False).value == "skip"
    score = {point.value: point for point in found["model"].points}
    assert score["skip"].low < 0.74 < score["skip"].high


def test_the_best_learning_rate_is_found():
    """The score falls with the square of the decades from 1e-3."""
    found = by_name(effects.effects(trials(2, decoder_lr=lambda rate: -0.03 * (np.log10(rate) + 3) ** 2)))["decoder_lr"]

    assert found.matters
    assert abs(np.log10(found.best(ascending=False).value) + 3) < 0.5
    assert found.points[-1].score < found.best(ascending=False).low


def test_what_a_choice_does_includes_what_only_it_has():
    """Fine-tuned encoders gain by their learning rate alone: freezing costs what that brings on average."""
    found = by_name(effects.effects(trials(3, 80, encoder_lr=lambda rate: 0.02 * (np.log10(rate) + 5))))

    assert found["encoder_freeze"].matters and found["encoder_lr"].matters
    assert found["encoder_freeze"].best(ascending=False).value == False  # noqa: E712 (numpy's own)


def test_a_score_to_be_low_has_its_best_there():
    one = by_name(effects.effects(trials(1, model=lambda model: 0.04 * (model == "skip"))))["model"]

    assert one.best(ascending=True).value != "skip"


def test_a_choice_that_depends_on_another_is_an_interaction():
    """Oversampling helps one model, and hurts the other two."""
    table = trials(4, 90)
    helped = np.where(table["model"] == "deep", 0.05, -0.025) * table["oversample"] * 2
    table["val_iou"] += helped

    found, none = (effects.interaction(table, "model", other) for other in ("oversample", "loss"))
    assert found is not None and none is not None
    assert found.p < 0.01 and none.p > 0.05


def test_p_is_that_of_the_analytic_test():
    """One choice of two, nothing else varied: the permutation test is the F test, which is the t test."""
    rng = np.random.default_rng(5)
    table = trials(5, 50)[["trial", "state", "source", "model", "loss", "epochs", "val_iou"]]
    table = table.assign(model=rng.choice(["a", "b"], 50), loss="bce")
    table["val_iou"] += 0.012 * (table["model"] == "b")
    (one,) = effects.effects(table)
    first, second = (table.loc[table["model"] == name, "val_iou"] for name in ("a", "b"))

    assert one.p == pytest.approx(stats.ttest_ind(first, second).pvalue, abs=0.02)
    assert [point.score for point in one.points] == pytest.approx([first.mean(), second.mean()])
    half = one.points[0].high - one.points[0].score
    assert half == pytest.approx(1.96 * first.std(ddof=1) / len(first) ** 0.5, rel=0.1)


def test_too_few_trials_say_nothing():
    assert effects.effects(trials(0, 10)) == []
    assert effects.interaction(trials(0, 10), "model", "loss") is None


@pytest.mark.slow
def test_where_nothing_matters_nothing_is_found(monkeypatch):
    """200 studies: in one of twenty something may be found, whatever it is; each choice by itself, as often."""
    monkeypatch.setattr(linear, "PERMUTATIONS", 500)  # enough for 5 %
    found = [by_name(effects.effects(trials(seed))) for seed in range(100, 300)]

    some = sum(any(one.matters for one in study.values()) for study in found)
    assert stats.binomtest(some, 200, 0.05, alternative="greater").pvalue > 0.01
    for name in SPACE:
        alone = sum(study[name].p < 0.05 for study in found)
        assert stats.binomtest(alone, 200, 0.05).pvalue > 0.001, name


@pytest.mark.slow
def test_a_planted_effect_is_found_nearly_always_and_its_interval_holds_it(monkeypatch):
    monkeypatch.setattr(linear, "PERMUTATIONS", 500)
    held = matters = 0
    for seed in range(300, 500):
        one = by_name(effects.effects(trials(seed, 80, oversample=lambda amount: 0.05 * amount)))["oversample"]
        low, high = one.points
        matters += one.matters
        held += low.low - 0.0 <= 0.7 <= low.high and high.low <= 0.725 <= high.high

    assert matters >= 180
    assert held >= 165  # two intervals of 95 %, and the mean of all else is not exactly that of the 200 studies


def test_trials_compare_at_the_last_epoch_that_all_have(study):
    table, epoch = effects.comparable(load.trials(study), load.epochs(study))

    assert epoch == 1  # trial 6 was stopped there
    assert set(table["state"]) == {"COMPLETE", "PRUNED"} and set(table["source"]) == {"search"}
    assert table.set_index("trial").loc[9, "val_iou"] == pytest.approx(0.3 + 0.27 + 0.02)


def test_a_study_without_trials_has_no_effects(begun):
    table, epoch = effects.comparable(load.trials(begun), load.epochs(begun))

    assert epoch == 0 and effects.effects(table) == []


def test_a_number_is_looked_at_beside_what_only_some_trials_have():
    """The encoder's rate decides; that it does must not hide what the decoder's does."""
    table = trials(
        6,
        80,
        0.005,
        encoder_lr=lambda rate: 0.1 * (np.log10(rate) + 3.5),
        decoder_lr=lambda rate: 0.01 * (np.log10(rate) + 2.5),
    )

    assert by_name(effects.effects(table))["decoder_lr"].matters


def test_what_one_trial_alone_has_is_no_choice():
    """The only trial with a loss has that loss's parameters: they differ from none, and are looked at no further."""
    table = trials(5, 40)
    table["loss_alpha"] = np.where(np.arange(len(table)) == 3, 0.4, np.nan)

    found = by_name(effects.effects(table))

    assert "loss_alpha" not in found and "decoder_lr" in found


def test_that_choices_depend_on_each_other_is_said():
    table = trials(4, 120)
    table["val_iou"] += np.where(table["model"] == "deep", 0.06, -0.03) * table["oversample"] * 2
    found = effects.effects(table)

    said = effects.sentences(found, False, effects.interactions(table, found))
    assert any("does depends on" in one and "model" in one and "oversample" in one for one in said)
    none = trials(7, 120)
    assert not effects.sentences(effects.effects(none), False, effects.interactions(none, effects.effects(none)))[1:]
