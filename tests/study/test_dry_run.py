"""The plan of a study before it starts."""

from pathlib import Path

import pytest

from study import dry_run
from study.dry_run import weights_there
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


def test_training_the_best_again_is_in_the_plan_and_in_its_time() -> None:
    spec = load_spec("phantom", ["early_stopping.scheduler=none", "finalists.seeds=3"])
    assert dry_run.finalists(spec) == (
        "2, and finished baselines, on the sealed test split; the best are trained with 3 seeds: 4 trials more"
    )
    assert dry_run.epochs_at_most(spec) == 6 * 14 == dry_run.epochs_at_least(spec)
    stopped = load_spec("phantom", ["early_stopping={scheduler: asha, min_epochs: 2, reduction_factor: 2}"])
    assert dry_run.epochs_at_least(stopped) == 10 * 2 + 5 * 2 + 2.5 * 2
