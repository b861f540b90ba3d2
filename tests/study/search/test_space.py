"""The search space: conditions hold, `optuna_values` inverts `suggest`, baselines are the published configurations."""

import dataclasses

import optuna
import pytest
from own_specs import SEARCHED, WITH_BASELINES

from seg.options import DEFAULTS
from study.search.space import baselines, describe, optuna_values, suggest
from study.spec import Spec, load_spec
from study.spec.conditions import at, flat
from study.spec.dimension import Range, from_unit, to_unit

WIDE = (
    "search.batch_size={low: 8, high: 64, log: true}",
    "search.decoder_lr={low: 0.1, high: 0.5, step: 0.1}",
    "search.optimizer=[adam, adamw]",
    "search.schedule=cosine",
    "fixed={normalize: unit, weight_decay: 0.01}",
)
SPECS = {
    "isic": (WITH_BASELINES, ()),
    "phantom": (SEARCHED, ()),
    "wide": (WITH_BASELINES, WIDE),
    "frozen": (WITH_BASELINES, ("search.encoder_freeze=true",)),
    "first frozen, then tuned": (WITH_BASELINES, ("search.encoder_frozen_epochs=[0, 2, 5]",)),
    "one loss with its default": (WITH_BASELINES, ("search.loss=dice_bce",)),
    "batch sizes in steps": (WITH_BASELINES, ("search.batch_size={low: 8, high: 64, step: 8}",)),
    **{f"bundled {name}": (name, ()) for name in ("phantom", "folder", "isic", "pets", "coco")},
}


@pytest.fixture(params=SPECS)
def spec(request) -> Spec:
    name, overrides = SPECS[request.param]
    return load_spec(name, overrides)


def random_trials(spec: Spec, count: int):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(count):
        trial = study.ask()
        yield trial, suggest(trial, spec)


def test_told_inverts_suggest(spec):
    for trial, experiment in random_trials(spec, 100):
        assert optuna_values(experiment, spec) == (trial.params, trial.distributions)


def test_told_from_json_is_told(spec):
    """As on resume, where experiments come back from their records."""
    for _, experiment in random_trials(spec, 5):
        assert optuna_values(type(experiment).from_json(experiment.to_json()), spec) == optuna_values(experiment, spec)


def test_a_seed_of_its_own_is_no_other_choice(spec):
    """As of a replicate: the same choices, trained once more."""
    for trial, experiment in random_trials(spec, 5):
        replicate = dataclasses.replace(experiment, seed=experiment.seed + 7)
        assert optuna_values(replicate, spec) == (trial.params, trial.distributions)


def test_the_flat_space_has_every_choice_and_leads_to_every_experiment(spec):
    dimensions = flat(spec)
    seen = set()
    for trial, experiment in random_trials(spec, 200):
        seen |= trial.params.keys()
        anywhere = {name: from_unit(dimension, 0.5) for name, dimension in dimensions.items()}
        assert at(spec, anywhere | trial.params) == experiment
    assert seen == dimensions.keys()


def test_the_unit_interval_is_each_dimension(spec):
    for dimension in flat(spec).values():
        places = [(i + 0.5) / 400 for i in range(400)]
        values = [from_unit(dimension, place) for place in places]
        assert all(value in dimension for value in (*values, from_unit(dimension, 0.0), from_unit(dimension, 1.0)))
        for value in values:
            assert from_unit(dimension, to_unit(dimension, value)) == pytest.approx(value)
        if not isinstance(dimension, Range):
            assert [values.count(value) for value in dimension] == pytest.approx(
                [400 / len(dimension)] * len(dimension), abs=1
            )


def test_the_unit_interval_by_hand():
    rate, steps = Range(low=1e-4, high=1e-2, log=True), Range(low=0.1, high=0.5, step=0.1)
    assert from_unit(rate, 0.5) == pytest.approx(1e-3) and to_unit(rate, 1e-3) == pytest.approx(0.5)
    assert [from_unit(steps, place) for place in (0.0, 0.19, 0.21, 0.99)] == pytest.approx([0.1, 0.1, 0.2, 0.5])
    assert to_unit(steps, 0.3) == pytest.approx(0.5) and to_unit(Range(low=2, high=2), 2) == 0.5
    sizes = Range(low=8, high=64, step=8, int=True)
    assert from_unit(sizes, 0.999) == 64 and type(from_unit(sizes, 0.0)) is int
    assert from_unit(("a", "b", "c"), 0.34) == "b" and to_unit(("a", "b", "c"), "b") == 0.5


def test_parameters_exist_only_under_their_condition(spec):
    for trial, experiment in random_trials(spec, 60):
        assert (experiment.encoder_lr is None) == experiment.encoder_freeze
        assert ("encoder_lr" in trial.params) == (not experiment.encoder_freeze)
        first_frozen = spec.search is not None and spec.search.encoder_frozen_epochs is not None
        assert ("encoder_frozen_epochs" in trial.params) == (first_frozen and not experiment.encoder_freeze)
        assert set(experiment.loss_parameters) == set(DEFAULTS[experiment.loss])
        searched = {f"loss_{experiment.loss}_{name}" for name in spec.losses[experiment.loss]}
        assert {name for name in trial.params if name.startswith("loss_")} == searched


def test_a_single_value_is_no_parameter():
    spec = load_spec(*SPECS["wide"])
    for trial, experiment in random_trials(spec, 3):
        assert not {"schedule", "normalize", "weight_decay"} & set(trial.params)
        assert (experiment.schedule, experiment.normalize, experiment.weight_decay) == ("cosine", "unit", 0.01)


def test_every_searched_trial_has_the_seed_of_the_study():
    spec = load_spec(SEARCHED, ["seed=7"])
    assert {experiment.seed for _, experiment in random_trials(spec, 5)} == {7}


@pytest.mark.parametrize(
    "change",
    [
        {"decoder_lr": 0.011},
        {"encoder_lr": 9e-6},
        {"batch_size": 45},
        {"augment": "none"},
        {"optimizer": "adam"},
        {"loss_parameters": {"dice_weight": 3.0}},
        {"epochs": 51},
        {"encoder_weights": "none"},
    ],
)
def test_an_experiment_outside_the_space_is_not_told(change):
    spec = load_spec(WITH_BASELINES, ["search.loss={dice_bce: {dice_weight: {low: 0.1, high: 2.0}}}"])
    inside = next(experiment for _, experiment in random_trials(spec, 50) if not experiment.encoder_freeze)
    assert optuna_values(inside, spec) is not None
    assert optuna_values(dataclasses.replace(inside, **change), spec) is None


def test_a_loss_parameter_that_is_not_searched_must_be_at_its_default():
    spec = load_spec(WITH_BASELINES, ["search.loss=dice_bce"])
    _, experiment = next(random_trials(spec, 1))
    assert experiment.loss_parameters == {"dice_weight": 1.0}
    assert optuna_values(dataclasses.replace(experiment, loss_parameters={"dice_weight": 0.5}), spec) is None


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_the_searcher_takes_what_it_is_told():
    spec = load_spec(SEARCHED)
    sampler = optuna.samplers.TPESampler(multivariate=True, group=True, constant_liar=True, seed=0, n_startup_trials=3)
    study = optuna.create_study(sampler=sampler, direction="maximize")
    for number, (_, experiment) in enumerate(random_trials(spec, 12)):
        params, distributions = optuna_values(experiment, spec)
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=number / 12))
    trial = study.ask()
    assert optuna_values(suggest(trial, spec), spec) == (trial.params, trial.distributions)


@pytest.mark.parametrize(
    ("dimension", "inside", "outside"),
    [
        (Range(low=1, high=2), [1, 1.3, 2], [0.999, 2.001]),
        (Range(low=0, high=1, step=0.1), [0, 0.1 + 0.2, 0.7, 1], [0.05, 1.1]),
        (Range.model_validate({"low": 1, "high": 9, "int": True}), [1, 4, 9], [1.5, 0, 10]),
        (Range.model_validate({"low": 8, "high": 32, "step": 8, "int": True}), [8, 24, 32], [12, 40]),
    ],
)
def test_values_of_a_range(dimension, inside, outside):
    assert all(value in dimension for value in inside)
    assert not any(value in dimension for value in outside)


COMMON = {
    "dataset": "isic2016",
    "image_size": 128,
    "epochs": 50,
    "precision": "auto",
    "keep": "best",
    "seed": 0,
    "encoder_weights": "imagenet",
    "optimizer": "adam",
    "weight_decay": 0.0,
    "schedule": "constant",
    "oversample": 0.0,
    "encoder_frozen_epochs": 0,
}
R1 = COMMON | {
    "model": "mobilenetv2_plain",
    "augment": "hflip_rotate",
    "normalize": "imagenet",
    "batch_size": 32,
    "decoder_lr": 1e-3,
}
R3 = COMMON | {
    "model": "mobilenetv2_skip",
    "augment": "none",
    "normalize": "unit",
    "batch_size": 45,
    "decoder_lr": 0.01,
    "loss": "bce",
    "loss_parameters": {},
}
FROZEN = {"encoder_freeze": True, "encoder_lr": None}
TUNED = {"encoder_freeze": False, "encoder_lr": 1e-4}


def test_isic_baselines_are_the_published_configurations():
    spec = load_spec("isic", ["image_size=128", "epochs=50"])
    published = {baseline.name for baseline in spec.baselines if baseline.system}
    found = {name: experiment.to_json() for name, experiment in baselines(spec) if name in published}
    assert baselines(spec)[0][0] == "recipe"
    assert found == {
        "R1 model 1 (frozen, 0.1 Dice + BCE)": R1
        | FROZEN
        | {"loss": "dice_bce", "loss_parameters": {"dice_weight": 0.1}},
        "R1 model 2 (fine-tuned, BCE)": R1 | TUNED | {"loss": "bce", "loss_parameters": {}},
        "R3 experiment 1 (frozen)": R3 | FROZEN,
        "R3 experiment 2 (fine-tuned)": R3 | TUNED,
    }


def test_isic_keeps_the_published_figures():
    of_our_own = [baseline for baseline in load_spec("isic").baselines if not baseline.system]
    assert of_our_own and not any(baseline.published for baseline in of_our_own)
    assert [baseline.published for baseline in load_spec("isic").baselines if baseline.system] == [
        {"iou": 0.6354, "dice": 0.7675, "train_loss": 0.2911, "val_loss": 0.2899},
        {"iou": 0.6819, "dice": 0.7972, "train_loss": 0.2117, "val_loss": 0.2169},
        {"soft_iou": 0.6454, "soft_dice": 0.7641, "train_loss": 0.1848, "val_loss": 0.1630},
        {"soft_iou": 0.7239, "soft_dice": 0.8295, "train_loss": 0.1658, "val_loss": 0.1248},
    ]


def test_baselines_follow_the_study_but_not_its_fixed_choices():
    spec = load_spec(
        WITH_BASELINES, ["epochs=6", "image_size=64", "seed=3", "encoder.weights=none", "fixed.weight_decay=0.5"]
    )
    for _, experiment in baselines(spec):
        assert (experiment.epochs, experiment.image_size, experiment.seed) == (6, 64, 3)
        assert (experiment.encoder_weights, experiment.weight_decay) == ("none", 0.0)


def test_phantom_needs_nothing_from_the_network():
    spec = load_spec("phantom")
    assert (spec.dataset, spec.encoder.weights) == ("phantom", "none")


def test_the_description_gives_every_dimension_its_condition():
    lines = describe(load_spec(WITH_BASELINES))
    assert "model: mobilenetv2_plain, mobilenetv2_skip" in lines
    assert "encoder_lr: 1e-05 to 0.003, log scale (where the encoder is not frozen)" in lines
    assert "loss_dice_weight: 0.1 to 3, log scale (where the loss is dice_bce)" in lines
    assert lines[-1] == "fixed: optimizer adamw, weight_decay 0.0001, schedule cosine, normalize imagenet"
