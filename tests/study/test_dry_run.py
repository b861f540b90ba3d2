"""The plan of a study before it starts."""

from pathlib import Path

import pytest

from study.dry_run import _least_epochs, _stopping, budget_room, weights_there
from study.resources import Allotment, Cluster, Machine
from study.spec import load_spec


@pytest.mark.parametrize(("spec", "overrides"), [("isic", ["encoder.weights=none"]), ("published/r4-unet", [])])
def test_a_study_from_scratch_needs_no_weights(spec: str, overrides: list[str], tmp_path: Path) -> None:
    assert weights_there(load_spec(spec, overrides), tmp_path) == "none: trained from scratch"


def test_weights_that_are_missing_are_named_before_the_study_asks_for_them(tmp_path: Path) -> None:
    (tmp_path / "mobilenet_v2.pth").touch()
    assert weights_there(load_spec("isic"), tmp_path) == f"1 of 1 files in {tmp_path}"
    assert weights_there(load_spec("coco", ["search.model=smp:Unet:resnet18"]), tmp_path) == (
        f"0 of 3 files in {tmp_path}; mobilenet_v3_large.pth, resnet18.pth, resnet50.pth will be downloaded there"
    )


FOUR_GPUS = Cluster((Machine(48, 4, "big"), Machine(4, 0, "head")))
ON_GPUS = Allotment(lanes=4, workers=1, gpus_per_worker=1.0, threads=12)


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        # Ten trials take an hour if all are stopped early, five if none is.
        (["budget=2h"], "2 hours: about 4 (none stopped) to 10 (all as early as can be) of 10 trials"),
        (["budget=30min"], "0.5 hours: about 1 (none stopped) to 5 (all as early as can be) of 10 trials"),
        (["budget=5h"], "5 hours: all 10 trials"),
        (
            ["budget=8gpu-hours"],
            "8 GPU-hours, at 4 an hour: about 4 (none stopped) to 10 (all as early as can be) of 10 trials",
        ),
        (
            ["budget=12usd", "resources.price_per_hour={default: 0.2, big: 4.6}"],
            "12 usd, at 4.8 an hour: about 5 (none stopped) to 10 (all as early as can be) of 10 trials",
        ),
        (["budget=12usd", "resources.price_per_hour=1.2"], "12 usd, at 2.4 an hour: all 10 trials"),
    ],
)
def test_how_many_trials_a_budget_holds(overrides: list[str], text: str) -> None:
    held = budget_room(load_spec("phantom", overrides), FOUR_GPUS, ON_GPUS, least=3600, full=5 * 3600)
    assert held == f"{text}; finalists are scored beyond it"


@pytest.mark.parametrize(
    ("scheduler", "least"),
    [
        ("none", 40 * 50),
        ("median", 40 * 5),
        ("asha", 40 * 5 + 40 / 3 * 10 + 40 / 9 * 30 + 40 / 27 * 5),
        ("promoting_asha", 40 * 5 + 40 / 3 * 10 + 40 / 9 * 30 + 40 / 27 * 5),
    ],
)
def test_the_fewest_epochs_that_a_study_may_take(scheduler: str, least: float) -> None:
    spec = load_spec("isic", [f"early_stopping.scheduler={scheduler}"])
    assert _least_epochs(spec) == pytest.approx(least)


def test_the_fewest_epochs_of_brackets() -> None:
    """27 epochs: of 49 trials 27 are in a bracket with rungs at 1, 3 and 9; 12, 6 and 4 in those that begin later."""
    spec = load_spec("phantom", ["trials=49", "epochs=27", "early_stopping={scheduler: hyperband, min_epochs: 1}"])
    first = 27 * 1 + 9 * 2 + 3 * 6 + 1 * 18
    assert _least_epochs(spec) == pytest.approx(first + (12 * 3 + 4 * 6 + 4 / 3 * 18) + (6 * 9 + 2 * 18) + 4 * 27)


def test_each_way_of_stopping_is_said_with_its_epochs() -> None:
    said = {
        name: _stopping(load_spec("isic", [f"early_stopping.scheduler={name}"]))
        for name in ("none", "asha", "promoting_asha", "hyperband", "median")
    }
    assert said["none"] == "none"
    assert said["asha"] == "asha: at epoch 5, 15, 45 only the best 1/3 so far go on"
    assert all(text.startswith(f"{name}: ") and " 5" in text for name, text in said.items() if name != "none")
