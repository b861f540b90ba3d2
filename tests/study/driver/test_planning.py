"""What a plan chooses: pure reckoning, with a pace that is made up."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
from own_specs import SEARCHED, WITH_BASELINES

from seg import models
from seg.experiment import Experiment
from study.driver import planning
from study.driver.planning import SIZES, Planned, Situation, epoch_seconds, extend, plan, searched_epochs, typical
from study.lanes.resources import Allotment, Cluster, Machine
from study.search.schedulers.scheduler import milestones
from study.spec import from_json, load_spec
from study.spec.conditions import comparable
from study.store.records import OTHER_KINDS, RECIPE

SLOWER = {"unet": 8.0, "deeplabv3_resnet50": 12.0, "deeplabv3_mobilenetv3": 2.0}
STUDIES = ["folder", "isic", "pets", "coco"]
ISIC = {"train": 720, "val": 180, "test": 379}


def pace(seconds: float) -> Callable[[Experiment], float]:
    """Of an image of 128 pixels; larger ones take as much longer as they have more pixels."""

    def of(experiment: Experiment) -> float:
        frozen = 0.5 if experiment.encoder_freeze else 1.0
        return seconds * (experiment.image_size / 128) ** 2 * SLOWER.get(experiment.model, 1.0) * frozen

    return of


def situation(
    images: dict[str, int] | None = None, seconds: float = 0.01, side: int = 700, lanes: int = 1, **more: Any
) -> Situation:
    allotment = Allotment(lanes=lanes, workers=1, gpus_per_worker=more.pop("gpus", 0.0), threads=2)
    cluster = more.pop("cluster", Cluster((Machine(2 * lanes, 0),)))
    return Situation(images or ISIC, side, allotment, cluster, pace(seconds), elapsed_seconds=5.0, **more)


def total_seconds(planned: Planned, at: Situation) -> float:
    """From typing to report, as the dry run says it."""
    return at.elapsed_seconds + planning.START_SECONDS + planned.search_seconds + planned.reserved_seconds


BUDGETS = ["3min", "5min", "10min", "15min", "30min", "1h", "2h", "5h", "10h"]
SITUATIONS = [
    situation(images, seconds, side, lanes)
    for images, side in (
        ({"train": 16, "val": 4, "test": 4}, 100),
        ({"train": 60, "val": 15, "test": 20}, 300),
        (ISIC, 700),
        ({"train": 3000, "val": 700, "test": 400}, 400),
    )
    for seconds, lanes in ((0.0005, 4), (0.003, 1), (0.01, 1), (0.1, 2))
]


def situation_name(at: Situation) -> str:
    return f"{at.images['train']} images, {1000 * at.pace(PLAIN):g} ms, {at.allotment.lanes} lanes"


PLAIN = Experiment("isic2016", 128, "mobilenetv2_plain", "bce", 1, decoder_lr=1e-3, encoder_lr=1e-3)


# A budget


@pytest.mark.parametrize("at", SITUATIONS, ids=situation_name)
@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("name", STUDIES)
def test_a_plan_fits_its_budget_has_the_recipe_and_is_what_can_be_trained(
    name: str, budget: str, at: Situation
) -> None:
    spec = load_spec(name, [f"budget={budget}"])
    planned = plan(spec, at)
    found, allowed = planned.spec, 3600 * planning.parse(budget).amount
    least = (found.image_size, found.epochs) == (SIZES[0], 1)
    assert total_seconds(planned, at) <= allowed or least, "a study of a single epoch may take longer"
    # The recipe comes first, and has a lane's time at most.
    assert found.baselines[0].name == RECIPE and found.trials >= len(found.baselines)
    assert planned.full_seconds == pytest.approx(found.epochs * epoch_seconds(typical(found), at))
    # Images are not larger than the data's, and every model takes them.
    assert found.image_size in SIZES and found.image_size <= max(at.side, SIZES[0]) + SIZES[0] // 4
    assert all(models.takes(model, found.image_size) for model in found.models)
    # Judged after 100 optimiser steps at least.
    steps = math.ceil(at.images["train"] / typical(found).batch_size)
    first = found.early_stopping.min_epochs
    assert steps * first >= 100 and (steps * (first - 1) < 100 or 8 * (first - 1) < found.epochs)
    assert all(rung * steps >= 100 for rung in milestones(first, 3, found.epochs))
    # It can be stored and read again, and planned anew it is the same.
    stored = from_json(found.to_json())
    assert stored == found and plan(stored, at).spec.to_json() == found.to_json()


@pytest.mark.parametrize("at", SITUATIONS, ids=situation_name)
@pytest.mark.parametrize("name", STUDIES)
def test_a_larger_budget_gives_up_neither_good_images_nor_the_full_length(name: str, at: Situation) -> None:
    plans = [plan(load_spec(name, [f"budget={budget}"]), at).spec for budget in BUDGETS]
    sizes = [min(spec.image_size, planning.ENOUGH_PX) for spec in plans]
    assert sizes == sorted(sizes)
    full = [planning._full_epochs(spec, at) for spec in plans]
    for spec, length in zip(plans, full, strict=True):
        assert spec.epochs <= planning.LONGEST * length
        if spec.image_size > SIZES[0]:
            assert spec.epochs >= length, "larger images only where the recipe is trained in full"


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("seconds", [0.0003, 0.003, 0.03])
def test_the_recipe_in_full_within_its_share_where_there_is_a_search(budget: str, seconds: float) -> None:
    """Which leaves time for another full trial, the second opinion; else it has the budget alone."""
    at = situation(seconds=seconds)
    planned = plan(load_spec("folder", [f"budget={budget}"]), at)
    left = planning.training_seconds(planned.spec, at, planned.reserved_seconds)
    assert left is not None
    if len(planned.spec.baselines) > 1:
        assert planned.spec.epochs >= planning._full_epochs(planned.spec, at)
        assert planned.full_seconds <= planning.RECIPE_SHARE * left * 1.05
    else:
        assert planned.full_seconds <= planning.ALONE_SHARE * left * 1.05 or planned.spec.epochs == 1


@pytest.mark.parametrize("at", SITUATIONS, ids=situation_name)
def test_more_trials_may_begin_than_are_expected_to_fit(at: Situation) -> None:
    """The budget ends the study; training may turn out faster than it was timed."""
    for budget in BUDGETS:
        spec = plan(load_spec("folder", [f"budget={budget}"]), at).spec
        assert spec.trials >= len(spec.baselines) + planning.MIN_SPARE_TRIALS


def test_most_of_a_budget_is_used() -> None:
    for budget in ("30min", "1h", "5h", "10h"):
        at = situation(seconds=0.003)
        planned = plan(load_spec("folder", [f"budget={budget}"]), at)
        assert total_seconds(planned, at) > 0.7 * 3600 * planning.parse(budget).amount


def test_what_was_elapsed_counts() -> None:
    late = situation(seconds=0.003)
    late = Situation(late.images, late.side, late.allotment, late.cluster, late.pace, elapsed_seconds=1200.0)
    spec = load_spec("folder", ["budget=30min"])
    assert total_seconds(plan(spec, late), late) <= 1800
    assert plan(spec, late).search_seconds < plan(spec, situation(seconds=0.003)).search_seconds


def test_lanes_side_by_side_hold_more_trials_no_longer_ones() -> None:
    spec = load_spec("folder", ["budget=1h"])
    one, four = (plan(spec, situation(seconds=0.003, lanes=lanes)) for lanes in (1, 4))
    assert (four.spec.image_size, four.spec.epochs) == (one.spec.image_size, one.spec.epochs)
    assert four.spec.trials > 2 * one.spec.trials and four.search_seconds <= 3600


@pytest.mark.parametrize(
    ("budget", "hours"),
    # Four lanes of a GPU each; four machines at 1.5 and one at 2.
    [("90min", 1.5), ("1.5h", 1.5), ("0.5d", 12.0), ("6gpu-hours", 1.5), ("12usd", 1.5)],
)
def test_a_budget_in_gpu_hours_or_money_is_the_hours_that_it_lasts(budget: str, hours: float) -> None:
    nodes = Cluster((*[Machine(8, 1, "small")] * 4, Machine(4, 0, "head")))
    prices = f"resources.price_per_hour={{{OTHER_KINDS}: 1.5, head: 2}}"
    at = situation(seconds=0.003, lanes=4, gpus=1.0, cluster=nodes)
    found, same = (plan(load_spec("folder", [f"budget={one}", prices]), at) for one in (budget, f"{hours}h"))
    assert found.spec.model_copy(update={"budget": None}) == same.spec.model_copy(update={"budget": None})


# What is stated


STATED = {
    "image_size": ["image_size=160"],
    "epochs": ["epochs=7"],
    "trials": ["trials=11"],
    "finalists": ["finalists={top: 4, seeds: 3}"],
    "early_stopping": ["early_stopping={scheduler: asha, min_epochs: 2, reduction_factor: 4}"],
    "published": ["published=all"],
}


@pytest.mark.parametrize("budget", [[], ["budget=20min"], ["budget=4h"]])
@pytest.mark.parametrize("names", [*itertools.combinations(STATED, 1), *itertools.combinations(STATED, 2), (*STATED,)])
def test_what_is_stated_stays(names: tuple[str, ...], budget: list[str]) -> None:
    spec = load_spec("isic", [*budget, *itertools.chain(*(STATED[name] for name in names))])
    found = plan(spec, situation(seconds=0.003)).spec
    for name in names:
        assert getattr(found, name) == getattr(spec, name)
    open_ones = {"fixed", "search", "dataset", "encoder", "seed", "budget", "resources", "compare"}
    assert all(getattr(found, name) == getattr(spec, name) for name in open_ones)
    assert found.sampler == ("tpe" if found.trials > 300 else "gp")


def test_a_spec_that_states_everything_is_planned_as_it_is() -> None:
    for source in (SEARCHED, WITH_BASELINES):
        spec = load_spec(source)
        planned = plan(spec, situation())
        assert planned.spec == spec and not planned.left_out and not planning.is_open(spec)
        assert len(planned.remarks) == 1, "there is nothing that was chosen"
    assert planning.is_open(load_spec(SEARCHED, ["budget=1h"])) and planning.is_open(load_spec("folder"))


def test_why_names_what_may_be_changed() -> None:
    spec = load_spec("folder", ["budget=1h", "epochs=20"])
    what, why = plan(spec, situation(seconds=0.003)).remarks
    assert what.startswith("the recipe trains 20 epochs (1800 steps) at ")
    assert why.endswith("change it with --image-size, --trials or --budget")
    _, why = plan(load_spec("folder"), situation()).remarks
    assert why.startswith("without a budget: change it with --image-size, --epochs, --trials, or give --budget")
    alone, _ = plan(load_spec("recipe", ["dataset=isic2016"]), situation()).remarks
    assert alone.endswith("; nothing else is tried")
    one, _ = plan(load_spec("isic", ["trials=1"]), situation()).remarks
    assert one.endswith("; nothing else is tried")
    two, _ = plan(load_spec("isic", ["trials=2"]), situation()).remarks
    assert two.endswith(f"; then {load_spec('isic').baselines[1].name}")
    many, _ = plan(load_spec("folder", ["budget=1h"]), situation(seconds=0.003)).remarks
    assert many.endswith("a search around it, as far as the budget goes")


# Published configurations


def test_published_ones_that_do_not_fit_are_left_out_by_name_with_their_cost() -> None:
    at = situation({"train": 3000, "val": 700, "test": 400}, seconds=0.003)
    planned = plan(load_spec("pets", ["budget=1h"]), at)
    (published,) = [one for one in load_spec("pets").baselines if one.system]
    assert published not in planned.spec.baselines
    (said,) = planned.left_out
    name, _, cost = said.partition(": ")
    assert name == published.name and cost.split()[1] in ("min", "h")
    all_of_them = plan(load_spec("pets", ["budget=1h", "published=all"]), at)
    assert published in all_of_them.spec.baselines and not all_of_them.left_out
    assert plan(load_spec("pets"), at).spec.baselines == load_spec("pets").baselines, "without a budget all are run"


@pytest.mark.parametrize("budget", BUDGETS)
def test_those_that_are_kept_take_a_third_of_what_the_recipe_leaves(budget: str) -> None:
    at = situation(seconds=0.003)
    asked = load_spec("isic", [f"budget={budget}"])
    planned = plan(asked, at)
    spec, left = planned.spec, planning.training_seconds(planned.spec, at, planned.reserved_seconds)
    assert left is not None
    published = [one for one in spec.baselines if one.system]
    cost = sum(spec.epochs * epoch_seconds(planning.conditions.published(spec, one), at) for one in published)
    assert cost <= max(left - planned.full_seconds, 0) / 3 * 1.001
    names = [one.name for one in spec.baselines] + [line.partition(": ")[0] for line in planned.left_out]
    assert sorted(names) == sorted(one.name for one in asked.baselines), "each is kept or named"
    order = [one.name for one in asked.baselines]
    assert [one.name for one in spec.baselines] == [name for name in order if name in names[: len(spec.baselines)]]


def test_a_large_budget_leaves_none_out() -> None:
    planned = plan(load_spec("isic", ["budget=10h"]), situation(seconds=0.001))
    assert not planned.left_out and planned.spec.baselines == load_spec("isic").baselines


# Comparisons, and no budget


@pytest.mark.parametrize("compare", ["model", "loss", "encoder_freeze", "augment", "batch_size"])
@pytest.mark.parametrize("budget", [[], ["budget=15min"], ["budget=1h"], ["budget=10h"]])
@pytest.mark.parametrize("name", STUDIES)
def test_what_is_compared_shares_the_searched_trials_evenly(name: str, budget: list[str], compare: str) -> None:
    spec = plan(load_spec(name, [*budget, f"compare={compare}"]), situation(seconds=0.003)).spec
    searched = spec.trials - len(spec.baselines)
    assert searched > 0 and searched % len(comparable(spec)[compare]) == 0
    assert from_json(spec.to_json()) == spec


@pytest.mark.parametrize("at", SITUATIONS, ids=situation_name)
@pytest.mark.parametrize("name", STUDIES)
def test_without_a_budget_it_is_an_evening_s_study_whatever_the_pace(name: str, at: Situation) -> None:
    planned = plan(load_spec(name), at)
    spec = planned.spec
    largest = max(at.side, SIZES[0]) + SIZES[0] // 4
    assert spec.image_size == (192 if largest >= 192 else 160)
    assert (spec.trials, spec.finalists.top, spec.finalists.seeds) == (20, 2, 1)
    assert spec.epochs == planning._full_epochs(spec, at) and spec.baselines == load_spec(name).baselines
    assert not planned.left_out


# What early stopping costs


@pytest.mark.parametrize(
    ("scheduler", "epochs"),
    [
        ("none", 40 * 50),
        ("median", 0.6 * 40 * 50),
        ("asha", 40 * 5 + 40 / 3 * 10 + 40 / 9 * 30 + 40 / 27 * 5),
        ("promoting_asha", 40 * 5 + 40 / 3 * 10 + 40 / 9 * 30 + 40 / 27 * 5),
    ],
)
def test_epochs_that_searched_trials_take(scheduler: str, epochs: float) -> None:
    spec = load_spec(WITH_BASELINES, [f"early_stopping.scheduler={scheduler}"])
    assert searched_epochs(spec, 40) == pytest.approx(epochs)


def test_of_few_trials_one_is_trained_to_the_end() -> None:
    spec = load_spec(WITH_BASELINES)
    assert searched_epochs(spec, 1) == 50 and searched_epochs(spec, 0) == 0
    assert searched_epochs(spec, 2) == 2 * 5 + 45
    counts = [searched_epochs(spec, trials) for trials in range(200)]
    assert counts == sorted(counts) and len(set(counts)) == len(counts)


@pytest.mark.parametrize("full_trials", [0.0, 0.5, 1.0, 3.7, 40.0, 333.0, 10_000.0])
def test_no_more_trials_than_the_time_of_so_many_full_ones_holds(full_trials: float) -> None:
    """And not many fewer."""
    spec = load_spec(WITH_BASELINES)
    held = planning._searched(spec, full_trials)
    assert searched_epochs(spec, held) <= full_trials * 50
    assert held >= 10_000 or searched_epochs(spec, max(math.ceil(1.03 * held), held + 1)) > full_trials * 50


# A study that goes on


def test_a_larger_budget_adds_trials_to_a_study_that_has_begun_and_changes_nothing_else() -> None:
    at = situation(seconds=0.003)
    begun = plan(load_spec("folder", ["budget=30min"]), at).spec
    stored = from_json(begun.to_json(), ["budget=2h"])
    used = Situation(at.images, at.side, at.allotment, at.cluster, at.pace, elapsed_seconds=1800.0)
    more = extend(stored, used, ended=begun.trials)
    assert more.trials > begun.trials
    assert more.model_copy(update={"trials": begun.trials, "budget": "30min"}) == begun
    assert extend(from_json(begun.to_json()), used, ended=begun.trials).trials == begun.trials, "it is spent"
    lifted = from_json(begun.to_json(), ["budget=none"])
    assert extend(lifted, used, ended=begun.trials) == lifted
