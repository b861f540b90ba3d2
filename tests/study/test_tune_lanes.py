"""What makes a number of lanes the best, and that it is measured."""

import pytest
import torch
from own_specs import SEARCHED

from study import tune_lanes
from study.spec import bundled, load_spec
from study.tune_lanes import Lanes, best, numbers, representative


def lanes(*images_per_second: float) -> list[Lanes]:
    return [Lanes(number, 1, rate, 1.0) for number, rate in zip((1, 2, 4, 8), images_per_second, strict=False)]


@pytest.mark.parametrize(
    ("rates", "expected"),
    [((100,), 1), ((100, 102), 1), ((100, 104), 2), ((100, 150, 152), 2), ((100, 150, 140), 2), ((100, 99, 150), 4)],
)
def test_the_fewest_that_are_not_beaten_by_much(rates: tuple[float, ...], expected: int) -> None:
    assert best(lanes(*rates)).lanes == expected


def test_a_lane_on_a_cpu_has_a_core_at_least() -> None:
    assert numbers(8, 4, on_gpu=False) == [1, 2, 3, 4]
    assert numbers(3, 64, on_gpu=False) == [1, 2, 3]
    assert numbers(8, 2, on_gpu=True) == [1, 2, 3, 4, 6, 8]


@pytest.mark.parametrize("name", sorted(bundled()))
def test_every_bundled_study_has_a_trial_to_measure(name: str) -> None:
    chosen = representative(load_spec(name))
    assert chosen.image_size == load_spec(name).image_size


def test_an_encoder_that_may_learn_does() -> None:
    assert not representative(load_spec("phantom", ["search.encoder_freeze=[true, false]"])).encoder_freeze


def test_it_stops_where_more_lanes_bring_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rates = {1: 100.0, 2: 150.0, 3: 150.0, 4: 140.0, 6: 900.0}
    monkeypatch.setattr(tune_lanes, "measure", lambda n, threads, told: Lanes(n, threads, rates[n], 1.5))
    found = tune_lanes.tried({}, most=8, cores=8, on_gpu=False)
    assert [one.lanes for one in found] == [1, 2, 3, 4] and [one.threads for one in found] == [8, 4, 2, 2]
    assert "    2             4       150           1.50      1.50" in capsys.readouterr().out


@pytest.mark.slow
def test_two_lanes_of_a_small_study_are_measured(capfd: pytest.CaptureFixture[str]) -> None:
    small = ["--set", "image_size=64", "--set", "search.model=mobilenetv2_plain", "--most", "2", "--seconds", "1"]
    assert tune_lanes.main([SEARCHED, *small]) == 0
    printed = capfd.readouterr().out.splitlines()
    assert printed[0].startswith("mobilenetv2_plain, encoder fine-tuned, batches of 16 at 64 px, on ")
    assert all(float(line.split()[2]) > 0 for line in printed[2:-1]) and printed[-1].startswith("best: ")


@pytest.mark.slow
def test_why_lanes_are_not_possible_is_said(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The lane's own process says it."""
    told = {
        "experiment": {"dataset": "phantom"},
        "pack": "/nowhere",
        "weights_dir": None,
        "seconds": 1.0,
        "feature_bytes": 0,
    }
    assert tune_lanes.tried(told, 1, 2, torch.cuda.is_available()) == []
    assert "    1  not possible: ValueError: decoder_lr: missing" in capfd.readouterr().out


def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert tune_lanes.main(["isic", "--data", "/nowhere/at/all", "--set", "encoder.weights=none"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
