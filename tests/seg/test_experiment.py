import dataclasses
import json
import re
from typing import Any

import pytest

from seg.experiment import Experiment
from seg.options import HYPERPARAMETERS


def test_json_round_trip(make_experiment: Any) -> None:
    for chosen in (make_experiment(), make_experiment(loss="dice_bce", loss_parameters={"dice_weight": 0.1})):
        assert Experiment.from_json(json.loads(json.dumps(chosen.to_json()))) == chosen


def test_the_best_epoch_is_kept_if_nothing_is_said(make_experiment: Any) -> None:
    """As in records of before the choice was there."""
    raw = make_experiment().to_json()
    assert raw.pop("keep") == "best" and Experiment.from_json(raw) == make_experiment(keep="best")
    for keep in ("last", "average"):
        assert Experiment.from_json(make_experiment(keep=keep).to_json()).keep == keep


def test_a_losss_parameters_have_defaults(make_experiment: Any) -> None:
    assert make_experiment(loss="dice_bce").loss_parameters == {"dice_weight": 1.0}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "unet5"}, "model: 'unet5' is not known; choose from mobilenetv2_plain"),
        ({"loss": "l2"}, "loss: 'l2' is not known; choose from bce, dice_bce"),
        ({"augment": "mirror"}, "augment: 'mirror' is not known; choose from none, flips"),
        ({"optimizer": "sgd"}, "optimizer: 'sgd' is not known; choose from adam, adamw"),
        ({"schedule": "step"}, "schedule: 'step' is not known"),
        ({"keep": "first"}, "keep: 'first' is not known; choose from best, last, average"),
        ({"keep": None}, "keep: None is not known; choose from best, last, average"),
        ({"normalize": "z"}, "normalize: 'z' is not known; choose from imagenet, unit"),
        ({"epochs": 0}, "epochs: 0 must be a whole number of at least 1"),
        ({"batch_size": 1.5}, "batch_size: 1.5 must be a whole number"),
        ({"decoder_lr": 0.0}, "decoder_lr: 0.0 must be above 0"),
        ({"encoder_lr": None}, "encoder_lr: None must be above 0 where the encoder is not frozen"),
        ({"encoder_freeze": True}, "encoder_lr: 0.0001 is given, but encoder_freeze is true"),
        ({"weight_decay": -1.0}, "weight_decay: -1.0 must be 0 or more"),
        ({"weight_decay": float("nan")}, "weight_decay: nan must be 0 or more"),
        ({"decoder_lr": float("inf")}, "decoder_lr: inf must be above 0"),
        ({"decoder_lr": "fast"}, "decoder_lr: 'fast' must be above 0"),
        ({"encoder_lr": float("nan")}, "encoder_lr: nan must be above 0"),
        ({"image_size": float("nan")}, "image_size: nan must be a whole number"),
        ({"epochs": "ten"}, "epochs: 'ten' must be a whole number"),
        (
            {"loss": "dice_bce", "loss_parameters": {"dice_weight": float("nan")}},
            "loss_dice_weight: nan must be 0 or more",
        ),
        ({"oversample": 1.5}, "oversample: 1.5 must be between 0 and 1"),
        ({"loss": "focal_tversky", "loss_parameters": {"alpha": 1.1}}, "loss_alpha: 1.1 must be between 0.01 and 0.99"),
        ({"loss": "focal_tversky", "loss_parameters": {"gamma": 0.5}}, "loss_gamma: 0.5 must be between 1 and 3"),
        ({"loss": "weighted_ce", "loss_parameters": {"power": -1}}, "loss_power: -1 must be between 0 and 2"),
        ({"loss": "dice_bce", "loss_parameters": {"dice_weight": -1}}, "loss_dice_weight: -1 must be 0 or more"),
        ({"loss_parameters": {"gamma": 2}}, "loss_gamma: the loss bce has no such parameter; it has none"),
    ],
)
def test_every_refusal_names_field_value_and_what_is_allowed(
    make_experiment: Any, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(said)}"):
        make_experiment(**changes)


def test_unknown_and_missing_fields_are_named(make_experiment: Any) -> None:
    raw = make_experiment().to_json()
    with pytest.raises(ValueError, match="lr: not a field of an experiment"):
        Experiment.from_json(raw | {"lr": 1})
    del raw["epochs"]
    with pytest.raises(ValueError, match="epochs: missing"):
        Experiment.from_json(raw)


def test_every_hyperparameter_is_a_field_and_its_default_is_allowed() -> None:
    defaults = {field.name: field.default for field in dataclasses.fields(Experiment)}
    assert set(HYPERPARAMETERS) <= set(defaults)
    stated = [name for name in HYPERPARAMETERS if defaults[name] not in (dataclasses.MISSING, None)]
    assert len(stated) == len(HYPERPARAMETERS) - 2  # the two learning rates
    for name in stated:
        assert HYPERPARAMETERS[name].problem(defaults[name]) == ""
