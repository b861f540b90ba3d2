"""What a training image costs: timed once a kind of experiment, and kept."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from seg.experiment import Experiment
from study.driver import timing
from study.driver.timing import Timer

PLAIN = Experiment(
    "phantom", 128, "mobilenetv2_plain", "bce", 3, decoder_lr=1e-3, encoder_lr=1e-3, encoder_weights="none"
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its file of timings."""
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "cache" / "packs"))
    monkeypatch.setattr(timing, "SECONDS", 0.1)
    return tmp_path / "cache" / timing.FILE


def test_each_kind_is_timed_once_and_kept_for_the_next_study(cache: Path) -> None:
    """Neither rates nor batch sizes, losses nor image sizes make another kind: a larger image has more pixels."""
    said: list[str] = []
    timer = Timer(1, said.append)
    seconds = timer(PLAIN)
    assert seconds > 0
    same = replace(PLAIN, decoder_lr=1e-2, batch_size=4, epochs=9, loss="dice_bce", loss_parameters={"dice_weight": 1})
    assert timer(same) == seconds and timer(replace(PLAIN, image_size=256)) == pytest.approx(4 * seconds)
    assert said == ["timing mobilenetv2_plain ..."]
    frozen = timer(replace(PLAIN, encoder_freeze=True, encoder_lr=None))
    assert said[1:] == ["timing mobilenetv2_plain frozen ..."] and frozen > 0
    assert Timer(1, said.append)(PLAIN) == seconds and len(said) == 2
    assert len(json.loads(cache.read_text())) == 2
    Timer(2, said.append)(PLAIN)
    assert len(said) == 3, "other threads have another pace"


def test_it_is_timed_again_after_an_hour(cache: Path) -> None:
    """The machine may have been busy, and be so no more."""
    Timer(1)(PLAIN)
    ((kind, (_, when)),) = json.loads(cache.read_text()).items()
    for ago, again in ((3000, 0), (3700, 1), (-3000, 1)):
        cache.write_text(json.dumps({kind: [123.0, when - ago]}))
        said: list[str] = []
        assert (Timer(1, said.append)(PLAIN) == 123.0) == (not again) and len(said) == again


@pytest.mark.parametrize("content", ["", "[1]", "{", '{"a": "b"}', '{"a": 1.0}', '{"a": [-1.0, 0.0]}', '{"a": [1]}'])
def test_a_damaged_file_of_timings_is_one_that_is_missing(cache: Path, content: str) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_text(content)
    seconds = Timer(1)(PLAIN)
    assert seconds > 0 and [kept for kept, _ in json.loads(cache.read_text()).values()] == [seconds]
