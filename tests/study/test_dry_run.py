"""The plan of a study before it starts."""

from pathlib import Path

import pytest

from study.dry_run import _estimate, _finalists, _least_epochs, _seconds, _stopping, _trials, budget_room, weights_there
from study.resources import Allotment, Cluster, Machine
from study.spec import load_spec
from study.timing import kinds


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
    ("budget", "text"),
    [
        ("5.9h", "all 10 trials; those with other seeds where they fit"),
        ("6h", "all 10 trials and those with other seeds"),
    ],
)
def test_whether_a_budget_holds_the_best_with_other_seeds(budget: str, text: str) -> None:
    spec = load_spec("phantom", [f"budget={budget}", "finalists.seeds=3"])
    held = budget_room(spec, FOUR_GPUS, ON_GPUS, least=3600, full=5 * 3600, again=3600)
    assert held == f"{budget.removesuffix('h')} hours: {text}; finalists are scored beyond it"


def test_training_the_best_again_is_in_the_plan_and_in_its_time() -> None:
    """Ten trials and four more, all of six epochs; of each of two models, where models are compared, eight more."""
    spec = load_spec("phantom", ["early_stopping.scheduler=none", "finalists.seeds=3"])
    assert _trials(spec) == "10, of which 0 published baselines; then up to 4 with other seeds"
    assert _finalists(spec) == "2, and finished baselines, on the sealed test split; each of the best with 3 seeds"
    assert "up to 8 with" in _trials(load_spec("phantom", ["finalists.seeds=3", "compare=model"]))
    least, full, again = _seconds(spec, {"train": 3, "val": 3}, Allotment(2, 1, 0.0, 1))
    assert least == full == pytest.approx(10 / 4 * again) and again > 0
    assert _estimate(least + again, full + again).endswith("(none stopped), timed on this machine")


def test_what_is_timed_is_what_trials_will_be() -> None:
    """Frozen and trained encoders, each architecture, and the baselines; each once."""
    spec = load_spec("isic", ["search.batch_size=[8,16]"])
    timed = [(one.model, one.encoder_freeze, one.batch_size) for one in kinds(spec)]
    assert sorted(timed) == [
        ("mobilenetv2_plain", False, 8),
        ("mobilenetv2_plain", True, 8),
        ("mobilenetv2_skip", False, 8),
        ("mobilenetv2_skip", True, 8),
    ]
    assert [(one.model, one.batch_size) for one in kinds(load_spec("published/r4-unet"))] == [("unet", 16)]


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
