"""A bundled study cannot lose its recipe: it is trial 0, is trained to its last epoch whatever happens, and is always
scored at the end."""

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

from study.driver.planning import typical
from study.ranking.leaders import contenders, finalists
from study.ranking.objective import Objective
from study.search import space
from study.search.account import Account, Meter
from study.search.schedulers import SCHEDULERS, Decision
from study.search.search import Search
from study.spec import Spec, bundled, from_json, load_spec
from study.spec.budget import parse
from study.store.records import RECIPE, Record, State, Used

STUDIES = ["phantom", "folder", "isic", "pets", "coco"]
EPOCHS = 9


def small(name: str, scheduler: str, *overrides: str) -> Spec:
    stopping = f"early_stopping={{scheduler: {scheduler}, min_epochs: 1, reduction_factor: 3}}"
    return load_spec(name, [stopping, "trials=14", f"epochs={EPOCHS}", "sampler=random", "finalists=1", *overrides])


def account(budget: str, hours: float) -> Account:
    return Account(parse(budget), {}, 0.0, Meter(Used(hours), list))


def add_epoch(record: Record, score: float) -> None:
    record.epochs.append({"epoch": len(record.epochs) + 1, "val_iou": score, "seconds": 1.0, "images_per_second": 1.0})
    record.best_epoch = max(record.epochs, key=lambda row: row["val_iou"])["epoch"]


def train(search: Search, make_record: Any, score: Callable[[int, int], float], lanes: int) -> dict[int, Record]:
    """All that the search proposes, on so many lanes, epoch by epoch; `score` of a trial's epoch."""
    running: list[Record] = []
    seen: dict[int, Record] = {}
    while True:
        while len(running) < lanes and (proposal := search.next()) is not None:
            made = make_record(
                proposal.trial, State.RUNNING, [], source=proposal.source, experiment=proposal.experiment
            )
            running.append(proposal.record or made)
            seen[proposal.trial] = running[-1]
        if not running:
            return seen
        for record in list(running):
            add_epoch(record, score(record.trial, len(record.epochs) + 1))
            whole = len(record.epochs) == record.experiment["epochs"]
            decision = Decision.GO_ON if whole else search.judge(record)
            if whole or decision is Decision.STOP:
                record.state = State.COMPLETE if whole else State.PRUNED
                search.end(record)
            if whole or decision is not Decision.GO_ON:
                running.remove(record)
            search.settled()


def worst(trial: int, epoch: int) -> float:
    """The recipe is behind every other trial in every epoch."""
    return 0.01 if trial == 0 else 0.9 - trial / 100 + epoch / 1000


def test_these_are_all_of_the_bundled_studies_that_search() -> None:
    assert set(STUDIES) == {name for name in bundled() if load_spec(name).search is not None}


@pytest.mark.parametrize("name", STUDIES)
def test_its_first_baseline_is_the_recipe(name: str) -> None:
    """The same one in each, and of one trial it is what remains."""
    (recipe,) = load_spec("recipe").baselines
    spec, alone = load_spec(name), load_spec(name, ["trials=1"])
    assert spec.baselines[0] == recipe and recipe.name == RECIPE
    assert [baseline.name for baseline in alone.baselines] == [RECIPE] and alone.trials == 1
    assert [name for name, _ in space.baselines(alone)] == [RECIPE]
    assert typical(spec) == space.baselines(spec)[0][1]
    assert from_json(json.loads(json.dumps(alone.to_json()))) == alone


@pytest.mark.parametrize("scheduler", sorted(SCHEDULERS))
@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.parametrize("lanes", [1, 4])
def test_no_scheduler_stops_or_pauses_it(name: str, scheduler: str, lanes: int, make_record: Any) -> None:
    """Though every other trial is better in every epoch; of those, some are stopped."""
    search = Search(small(name, scheduler), [])
    decisions: list[Decision] = []
    judge = search.judge

    def watched(record: Record) -> Decision:
        decision = judge(record)
        decisions.extend([decision] if record.trial == 0 else [])
        return decision

    search.judge = watched  # type: ignore[method-assign]
    records = train(search, make_record, worst, lanes)
    assert decisions == [Decision.GO_ON] * (EPOCHS - 1)
    assert records[0].state is State.COMPLETE and records[0].source == RECIPE and len(records[0].epochs) == EPOCHS
    assert len(records) == 14
    if scheduler not in ("none", "median"):
        assert any(len(record.epochs) < EPOCHS for record in records.values())


@pytest.mark.parametrize("scheduler", sorted(SCHEDULERS))
@pytest.mark.parametrize("leads", [0.01, 0.99])
def test_how_it_does_changes_nothing_for_the_others(scheduler: str, leads: float, make_record: Any) -> None:
    """They are compared among themselves: a recipe far ahead would let none of them go on."""

    def score(trial: int, epoch: int) -> float:
        return leads if trial == 0 else worst(trial, epoch)

    records = train(Search(small("folder", scheduler), []), make_record, score, lanes=1)
    without = Search(small("folder", scheduler, "baselines=[]", "trials=13"), [])
    others = train(without, make_record, lambda trial, epoch: worst(trial + 1, epoch), lanes=1)
    lengths = [len(records[trial].epochs) for trial in range(1, 14)]
    if scheduler != "hyperband":  # its brackets go by the trial's number
        assert lengths == [len(others[trial].epochs) for trial in range(13)]
    assert max(lengths) == EPOCHS, "at least one other is trained to the end"


@pytest.mark.parametrize("name", STUDIES)
@pytest.mark.parametrize("scheduler", sorted(SCHEDULERS))
def test_a_spent_budget_begins_it_and_nothing_else_and_lets_it_end(name: str, scheduler: str, make_record: Any) -> None:
    spent = account("1h", hours=2.0)
    search = Search(small(name, scheduler), [], account=spent)
    assert not spent.holds_another() and spent.exhausted and not search.finished
    records = train(search, make_record, worst, lanes=4)
    assert list(records) == [0] and records[0].source == RECIPE
    assert (records[0].state, len(records[0].epochs)) == (State.COMPLETE, EPOCHS)
    assert search.finished and search.stopped == []


def test_the_only_configuration_of_a_study_is_trained_to_its_end(make_record: Any) -> None:
    """Whatever its name: a budget that is spent would leave the study without a result."""
    spec = load_spec("recipe-unet", ["epochs=9", "budget=1h"])
    search = Search(spec, [], account=account("1h", 2.0))
    proposal = search.next()
    assert proposal and proposal.source == "recipe with Unet"
    record = make_record(0, State.RUNNING, [0.5], source=proposal.source, experiment=proposal.experiment)
    assert search.judge(record) is Decision.GO_ON


def test_a_budget_that_holds_no_trial_more_still_holds_the_recipe(make_record: Any) -> None:
    """An hour less a second is spent, and an earlier trial took two seconds."""
    left = account("1h", hours=3599 / 3600)
    ended = make_record(5, values=[0.5])
    left.change(ended)
    search = Search(small("isic", "promoting_asha"), [ended], account=left)
    proposal = search.next()
    assert proposal is not None and (proposal.trial, proposal.source, left.closed) == (0, RECIPE, True)
    assert search.next() is None


@pytest.mark.parametrize("scheduler", sorted(SCHEDULERS))
@pytest.mark.parametrize("hours", [0.0, 2.0])
@pytest.mark.parametrize("epochs", [0, 1, 5, EPOCHS])
@pytest.mark.parametrize("sent", [True, False])
def test_it_is_taken_up_again_after_a_kill(
    scheduler: str, hours: float, epochs: int, sent: bool, make_record: Any
) -> None:
    """Where it was, whether the budget is spent by then or not, and though all the others were better."""
    spec = small("folder", scheduler)
    experiment = space.baselines(spec)[0][1]
    recipe = make_record(0, State.RUNNING, [0.01] * epochs, source=RECIPE, experiment=experiment)
    others = [make_record(trial, values=[0.9] * EPOCHS) for trial in range(1, 14)]
    search = Search(spec, [recipe, *others], lambda record: sent, account("1h", hours=hours))
    assert search.stopped == [] and not search.finished
    proposal = search.next()
    assert proposal is not None and proposal.record is recipe and proposal.experiment == experiment
    while len(recipe.epochs) < EPOCHS:
        add_epoch(recipe, 0.01)
        assert len(recipe.epochs) == EPOCHS or search.judge(recipe) is Decision.GO_ON
    recipe.state = State.COMPLETE
    search.end(recipe)
    assert search.next() is None and search.finished and search.settled() == []


@pytest.mark.parametrize("seed", range(30))
def test_it_is_always_among_those_that_are_scored(seed: int, make_record: Any) -> None:
    """Wherever it ranks, however few finalists there are, with one objective, with two, and with a comparison."""
    rng = random.Random(seed)
    recipe = make_record(0, values=[rng.choice([0.0, 0.5, 1.0])], source=RECIPE)
    records = [recipe, *(make_record(trial, values=[rng.random()]) for trial in range(1, 12))]
    for record in records:
        record.latency_ms = rng.random()
        record.state = State.COMPLETE if record is recipe else rng.choice([State.COMPLETE, State.PRUNED, State.FAILED])
    rng.shuffle(records)
    one, other = Objective("val_iou", "max"), Objective("latency_ms", "min")
    for objectives in ([one], [one, other]):
        for count in range(4):
            for compare in (None, "model"):
                assert recipe in finalists(records, objectives, count, compare)
                assert recipe in contenders(records, objectives, count, compare)


@pytest.mark.parametrize(("published", "trained"), [("all", [0, 2, 3, 4, 5]), ("fitting", [0])])
def test_published_configurations_are_trained_whatever_they_cost_if_that_is_asked(
    make_record: Any, published: str, trained: list[int]
) -> None:
    """The budget is spent: nothing else is begun, and nothing of these is stopped."""
    spec = small("isic", "asha", f"published={published}")
    seen = train(Search(spec, [], account=account("1h", hours=2.0)), make_record, worst, lanes=1)
    assert sorted(seen) == trained
    assert {record.state for record in seen.values()} == {State.COMPLETE}
