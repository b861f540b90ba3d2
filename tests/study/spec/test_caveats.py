"""What a spec may say, and is told to mind."""

import json

import pytest
from own_specs import WITH_BASELINES

from study.spec import bundled, load_spec
from study.spec.checks import caveats


def told(schedule: str, stopping: str = "min_epochs: 2") -> list[str]:
    fixed = "fixed={optimizer: adamw, weight_decay: 1e-4, normalize: imagenet}"
    overrides = [fixed, "epochs=20", f"early_stopping={{{stopping}}}", f"search.schedule={schedule}", "baselines=[]"]
    return list(caveats(load_spec(WITH_BASELINES, overrides)))


def test_a_schedule_that_rises_is_not_judged_beside_one_that_does_not() -> None:
    assert told("[cosine, one_cycle]") == [
        "one_cycle's rates rise until epoch 6: trials with it that are judged at epoch 2 look worse than they end; "
        "give all one schedule, or set early_stopping.min_epochs=7"
    ]


def test_who_is_alone_waits_or_is_not_judged_is_not_warned() -> None:
    assert told("[one_cycle]") == told("[cosine, constant]") == []
    assert told("[cosine, one_cycle]", "min_epochs: 7") == told("[cosine, one_cycle]", "scheduler: none") == []


@pytest.mark.parametrize(("system", "told"), [("", 1), ("R3", 0)])
def test_the_schedule_of_a_baseline_of_one_s_own_counts_too(system: str, told: int) -> None:
    """It is judged beside the searched trials, whose schedule is a cosine where none is said. A published one cannot
    be changed."""
    baseline = load_spec("published/r3-frozen").to_json()["baselines"][0]
    baseline |= {"schedule": "one_cycle", "system": system}
    spec = load_spec(
        WITH_BASELINES, ["epochs=20", "early_stopping.min_epochs=2", f"baselines=[{json.dumps(baseline)}]"]
    )
    assert len(list(caveats(spec))) == told


def test_the_recipe_s_does_not_for_it_is_never_judged() -> None:
    (recipe,) = load_spec("recipe").to_json()["baselines"]
    overrides = ["epochs=20", "early_stopping.min_epochs=2", f"baselines={json.dumps([recipe])}"]
    assert recipe["schedule"] == "one_cycle"
    assert list(caveats(load_spec(WITH_BASELINES, overrides))) == []


@pytest.mark.parametrize("name", bundled())
def test_bundled_studies_have_nothing_to_mind(name: str) -> None:
    assert list(caveats(load_spec(name))) == []
