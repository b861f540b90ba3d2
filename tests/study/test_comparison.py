"""Equal shares, and a study of each value alone."""

from collections import Counter

import pytest

from study import space
from study.comparison import comparable, narrowed, value_of
from study.conditions import by_field
from study.spec import Spec, load_spec


@pytest.fixture
def compared(spec: Spec) -> Spec:
    """isic: four baselines, and 26 trials of two models."""
    return load_spec("isic", ["trials=30", "compare=model"])


def test_searched_trials_are_shared_out_in_turn(compared: Spec) -> None:
    values = [value_of(compared, trial) for trial in range(4, 30)]
    assert values[:4] == ["mobilenetv2_plain", "mobilenetv2_skip"] * 2
    assert Counter(values) == {"mobilenetv2_plain": 13, "mobilenetv2_skip": 13}


def test_the_study_of_one_value_has_all_other_choices(compared: Spec) -> None:
    alone = narrowed(compared, "mobilenetv2_skip")
    whole, left = by_field(compared), by_field(alone)
    assert left == whole | {"model": ("mobilenetv2_skip",)} and alone.losses == compared.losses


def test_losses_are_compared_with_their_parameters() -> None:
    alone = narrowed(load_spec("isic", ["compare=loss"]), "dice_bce")
    assert list(alone.losses) == ["dice_bce"] and list(alone.losses["dice_bce"]) == ["dice_weight"]


@pytest.mark.parametrize("compare", ["model", "loss", "encoder_freeze", "augment", "batch_size"])
def test_every_experiment_of_the_search_belongs_to_one_value(compare: str) -> None:
    import optuna

    spec = load_spec("isic", [f"compare={compare}", "trials=44"])
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(20):
        experiment = space.suggest(study.ask(), spec)
        told = {value: space.told(experiment, narrowed(spec, value)) for value in comparable(spec)[compare]}
        assert [value for value, one in told.items() if one] == [getattr(experiment, compare)]
