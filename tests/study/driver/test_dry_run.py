"""The plan of a study before it starts."""

from pathlib import Path

import pytest
from own_specs import SEARCHED, WITH_BASELINES

from study.driver import dry_run
from study.driver.dry_run import _finalists, _stopping, _trials, weights_there
from study.lanes.resources import Cluster, Machine
from study.spec import load_spec
from study.store import Store


@pytest.mark.parametrize(("spec", "overrides"), [("isic", ["encoder.weights=none"]), ("published/r4-unet", [])])
def test_a_study_from_scratch_needs_no_weights(spec: str, overrides: list[str], tmp_path: Path) -> None:
    assert weights_there(load_spec(spec, overrides), tmp_path) == "none: trained from scratch"


def test_weights_that_are_missing_are_named_before_the_study_asks_for_them(tmp_path: Path) -> None:
    (tmp_path / "mobilenet_v2.pth").touch()
    assert weights_there(load_spec("isic"), tmp_path) == f"1 of 1 files in {tmp_path}"
    assert weights_there(load_spec("coco", ["search.model=smp:Unet:resnet18"]), tmp_path) == (
        f"1 of 4 files in {tmp_path}; mobilenet_v3_large.pth, resnet18.pth, resnet50.pth will be downloaded there"
    )


def test_training_the_best_again_is_in_the_plan() -> None:
    """Ten trials and four more; of each of two models, where models are compared, eight more."""
    spec = load_spec(SEARCHED, ["finalists.seeds=3"])
    assert _trials(spec, planned=True) == "10; then up to 4 with other seeds"
    assert _finalists(spec) == "2, and finished baselines, on the sealed test split; each of the best with 3 seeds"
    assert "up to 8 with" in _trials(load_spec(SEARCHED, ["finalists.seeds=3", "compare=model"]), planned=True)


def test_the_first_trials_are_named_the_recipe_before_all() -> None:
    assert _trials(load_spec("folder"), planned=False).startswith("as many as the budget holds, first recipe")
    assert _trials(load_spec("phantom"), planned=False) == "9, first recipe"
    assert _trials(load_spec("phantom", ["budget=1h"]), planned=True) == "up to 9, first recipe"
    first, second, *_ = (baseline.name for baseline in load_spec("isic").baselines)
    assert _trials(load_spec("isic", ["trials=2"]), planned=False) == f"2, first {first}, {second}"
    assert first == "recipe"


@pytest.mark.parametrize("name", ["asha", "promoting_asha", "hyperband", "median"])
def test_each_way_of_stopping_is_said_with_its_epochs(name: str) -> None:
    said = _stopping(load_spec(WITH_BASELINES, [f"early_stopping.scheduler={name}"]))
    assert said.startswith(f"{name}: ") and " 5" in said and "recipe" not in said
    with_recipe = _stopping(load_spec("isic", [f"early_stopping={{scheduler: {name}, min_epochs: 5}}", "epochs=50"]))
    assert with_recipe == f"{said}; the recipe always goes on"


def test_where_no_trial_is_stopped_it_is_said() -> None:
    assert _stopping(load_spec(WITH_BASELINES, ["early_stopping.scheduler=none"])) == "none"
    assert _stopping(load_spec(WITH_BASELINES)) == "asha: at epoch 5, 15, 45 only the best 1/3 so far go on"
    short = _stopping(load_spec(WITH_BASELINES, ["epochs=4"]))
    assert short == "asha: no rung before the last epoch, so no trial is stopped"


def test_a_plan_is_printed_with_why_and_how_long(
    tiny_isic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "cache"))
    spec = load_spec("recipe", ["dataset=isic2016", "budget=1h", "image_size=96"])
    store, machine = Store(str(tmp_path / "studies" / "x")), Cluster((Machine(cpus=2, gpus=0),))
    dry_run.show(spec, store, tiny_isic, None, machine)
    out, err = capsys.readouterr()
    assert err.splitlines() == ["reading the data ...", f"timing {spec.models[0]} ..."]
    said = {line[:15].strip(): line[16:] for line in out.splitlines()}
    assert said["image size"] == "96 px" and said["trials"] == "up to 1, first recipe"
    assert said["plan"].startswith("the recipe trains ") and said["plan"].endswith("nothing else is tried")
    assert said["why"].startswith("a training image takes ") and "--budget" in said["why"]
    assert " at most of a budget of 1h, timed on this machine" in said["estimated time"]
    assert not Path(store.uri).exists()
