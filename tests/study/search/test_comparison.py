"""Equal shares, and a study of each value alone."""

import json
from collections import Counter

import optuna
import pytest
from own_specs import WITH_BASELINES

from study.search import space
from study.search.comparison import FairShares
from study.spec import Spec, load_spec
from study.spec.conditions import by_field, comparable

PLAIN, SKIP = "mobilenetv2_plain", "mobilenetv2_skip"
R2 = "deeplabv3-mobilenetv3", "deeplabv3-resnet50"


@pytest.fixture
def compared() -> Spec:
    """isic: of its four baselines two have the plain model and two the skip model; then 26 trials of both."""
    return load_spec(WITH_BASELINES, ["trials=30", "compare=model"])


def test_searched_trials_are_shared_out_in_turn(compared: Spec) -> None:
    shares = FairShares(compared)
    assert [shares.value(trial) for trial in range(8)] == [PLAIN, PLAIN, SKIP, SKIP, PLAIN, SKIP, PLAIN, SKIP]
    assert [shares.number(trial) for trial in range(8)] == [0, 1, 0, 1, 2, 2, 3, 3]
    assert Counter(shares.value(trial) for trial in range(4, 30)) == {PLAIN: 13, SKIP: 13}


def test_each_value_has_a_study_of_its_own_in_which_no_number_is_missing(compared: Spec) -> None:
    shares = FairShares(compared)
    for value in (PLAIN, SKIP):
        own = [shares.number(trial) for trial in range(30) if shares.value(trial) == value]
        alone = shares.alone(value)
        assert own == list(range(15)) and alone.trials == 15 and alone.compare is None
        assert [baseline.model for baseline in alone.baselines] == [value] * 2
        assert by_field(alone) == by_field(compared) | {"model": (value,)} and alone.losses == compared.losses


def test_a_baseline_may_have_a_value_that_is_not_searched() -> None:
    baselines = [load_spec(f"published/r2-{name}").to_json()["baselines"][0] for name in R2]
    overrides = ["search.model=[unet, deeplabv3_mobilenetv3]", "compare=model", "trials=8", "image_size=64"]
    spec = load_spec("coco", [*overrides, f"baselines={json.dumps(baselines)}"])
    shares = FairShares(spec)
    values = [shares.value(trial) for trial in range(8)]
    assert values == ["deeplabv3_mobilenetv3", "deeplabv3_resnet50", *["unet", "deeplabv3_mobilenetv3"] * 3]
    assert shares.alone("deeplabv3_resnet50").trials == 1 and shares.alone("unet").trials == 3


def test_losses_are_compared_with_their_parameters() -> None:
    alone = FairShares(load_spec(WITH_BASELINES, ["compare=loss"])).alone("dice_bce")
    assert list(alone.losses) == ["dice_bce"] and list(alone.losses["dice_bce"]) == ["dice_weight"]


@pytest.mark.parametrize("compare", ["model", "loss", "encoder_freeze", "augment", "batch_size"])
def test_every_experiment_of_the_search_belongs_to_one_value(compare: str) -> None:
    spec = load_spec(WITH_BASELINES, [f"compare={compare}", "trials=44"])
    shares, study = FairShares(spec), optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(20):
        experiment = space.suggest(study.ask(), spec)
        told = {value: space.optuna_values(experiment, shares.alone(value)) for value in comparable(spec)[compare]}
        assert [value for value, one in told.items() if one is not None] == [getattr(experiment, compare)]
