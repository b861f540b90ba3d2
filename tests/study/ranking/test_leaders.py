"""Who leads, and who is scored on the test split."""

import random
from typing import Any

import pytest

from study.ranking.leaders import contenders, ended_by_value, finalists, on_front, ranked
from study.ranking.objective import Objective
from study.store.records import Record, State


def numbers(records: list[Record]) -> list[int]:
    return [record.trial for record in records]


def test_best_first_and_ties_by_number(make_record: Any, objective: Objective) -> None:
    records = [make_record(t, values=[v]) for t, v in ((4, 0.5), (1, 0.5), (2, 0.9), (3, 0.1))]
    assert numbers(ranked(records, objective)) == [2, 1, 4, 3]


def test_least_first(make_record: Any) -> None:
    records = [make_record(t, values=[v], metric="val_loss", mode="min") for t, v in ((0, 0.5), (1, 0.2), (2, 0.2))]
    assert numbers(ranked(records, Objective("val_loss", "min"))) == [1, 2, 0]


@pytest.mark.parametrize("state", [State.RUNNING, State.PRUNED, State.FAILED, State.INFEASIBLE])
def test_only_finished_trials_lead(make_record: Any, objective: Objective, state: State) -> None:
    records = [make_record(0, state, [0.99]), make_record(1, values=[0.1])]
    assert numbers(ranked(records, objective)) == [1]
    assert numbers(ranked(records, objective, tuple(State))) == [0, 1]
    assert numbers(finalists(records, [objective], 2)) == [1]


def test_a_trial_without_a_score_is_left_out(make_record: Any, objective: Objective) -> None:
    records = [make_record(0, values=[]), make_record(1, values=[None]), make_record(2, values=[0.0])]
    assert numbers(ranked(records, objective, tuple(State))) == [2]


def test_finished_baselines_are_finalists_too(make_record: Any, objective: Objective) -> None:
    records = [
        make_record(0, values=[0.1], source="R1"),
        make_record(1, State.PRUNED, [0.8], source="R3"),
        *(make_record(trial, values=[0.2 + trial / 100]) for trial in range(2, 6)),
    ]
    assert numbers(finalists(records, [objective], 2)) == [5, 4, 0]
    assert numbers(finalists(records, [objective], 0)) == [0]
    assert numbers(finalists(records, [objective], 99)) == [5, 4, 3, 2, 0]


def test_replicates_follow_the_finalists_that_they_repeat_and_never_lead(
    make_record: Any, objective: Objective
) -> None:
    records = [make_record(trial, values=[trial / 10]) for trial in range(4)]
    again = [(4, 3, State.COMPLETE), (5, 3, State.FAILED), (6, 0, State.COMPLETE), (7, 3, State.RUNNING)]
    for trial, of, state in again:
        records.append(make_record(trial, state, [0.99], replicate_of=of))
    assert numbers(ranked(records, objective, tuple(State))) == [3, 2, 1, 0]
    assert numbers(finalists(records, [objective], 2)) == [3, 2, 4]
    assert numbers(contenders(records, [objective], 2)) == [3, 2, 4], "their weights are kept until they are scored"


def test_replicates_are_of_no_front_and_of_no_value(make_record: Any, objective: Objective) -> None:
    """Both better in every objective than any trial of the search."""
    records = [make_record(trial, values=[value]) for trial, value in enumerate((0.5, 0.7))]
    records += [make_record(trial, values=[0.99], replicate_of=0) for trial in (2, 3)]
    for record, latency_ms in zip(records, (5.0, 9.0, 1.0, 1.0), strict=True):
        record.latency_ms = latency_ms
    both = [objective, Objective("latency_ms", "min")]
    assert numbers(on_front(records, both)) == [1, 0]
    assert numbers(finalists(records, both, 1)) == [1] and numbers(finalists(records, both, 2)) == [1, 0, 2, 3]
    assert numbers(contenders(records, both, 1)) == [1, 0, 2, 3]
    assert ended_by_value(records, "model", objective) == {"mobilenetv2_skip": [(0, 0.5), (1, 0.7)]}
    assert numbers(finalists(records, [objective], 1, "model")) == [1]


@pytest.mark.parametrize("seed", range(40))
def test_who_is_no_finalist_any_more_never_is_again(make_record: Any, seed: int) -> None:
    """Trials end in any order, in any state, with ties: weights that were removed are never asked for."""
    rng = random.Random(seed)
    mode = rng.choice(["max", "min"])
    objective = Objective("val_iou", "max" if mode == "max" else "min")
    count, total = rng.randrange(4), rng.randrange(1, 20)
    records = [
        make_record(trial, State.RUNNING, [rng.randrange(5) / 4], mode=mode, source=rng.choice(["search", "R1"]))
        for trial in range(total)
    ]
    fallen: set[int] = set()
    for record in rng.sample(records, total):
        record.state = rng.choice([State.COMPLETE, State.COMPLETE, State.PRUNED, State.FAILED])
        kept = {finalist.trial for finalist in finalists(records, [objective], count)}
        assert not fallen & kept
        fallen |= {r.trial for r in records if r.state.ended} - kept


# Several objectives

FAST = Objective("latency_ms", "min")


def costing(make_record: Any, *points: tuple[float, float | None], state: State = State.COMPLETE) -> list[Record]:
    """A record a point of val_iou and latency_ms."""
    records = []
    for trial, (iou, latency_ms) in enumerate(points):
        records.append(make_record(trial, state, [iou]))
        records[-1].latency_ms = latency_ms
    return records


def test_the_front_best_first(make_record: Any, objective: Objective) -> None:
    """Trial 1 is as good as 0 and slower; 3 is worse than 2 and as fast; 5 was not measured."""
    points = [(0.9, 9), (0.9, 10), (0.7, 4), (0.6, 4), (0.5, 1), (0.99, None)]
    records = costing(make_record, *points)
    assert numbers(on_front(reversed(records), [objective, FAST])) == [0, 2, 4]
    records[0].state = State.PRUNED
    assert numbers(on_front(records, [objective, FAST])) == [1, 2, 4]


def test_the_front_of_one_objective_is_its_best(make_record: Any, objective: Objective) -> None:
    records = costing(make_record, (0.5, 1), (0.9, 1), (0.9, 2))
    assert numbers(on_front(records, [objective])) == [1, 2]


def test_finalists_are_of_the_front(make_record: Any, objective: Objective) -> None:
    """The best, then the trade-off in the middle: 0.6 for 2 adds (0.6 - 0.1) x (10 - 2), 0.8 for 8 adds 0.7 x 2."""
    records = costing(make_record, (0.9, 10), (0.8, 8), (0.6, 2), (0.1, 1), (0.85, 10))
    aims = [objective, FAST]
    assert [numbers(finalists(records, aims, count)) for count in (0, 1, 2)] == [[], [0], [0, 2]]
    assert numbers(finalists(records, aims, 9)) == [0, 1, 2, 3]
    records[4].source = "R1"
    assert numbers(finalists(records, aims, 2)) == [0, 4, 2], "a baseline is scored wherever it stands"


@pytest.mark.parametrize("seed", range(40))
def test_whoever_is_chosen_of_the_front_has_kept_its_weights(make_record: Any, seed: int) -> None:
    rng = random.Random(seed)
    aims = [Objective("val_iou", "max"), FAST, Objective("train_seconds", "min")][: rng.choice([1, 2, 3])]
    compare = rng.choice([None, "model"])
    records = costing(make_record, *((rng.randrange(9) / 8, rng.randrange(9)) for _ in range(30)), state=State.RUNNING)
    kept: list[Record] = []
    for record in rng.sample(records, 30):
        record.epochs[0]["seconds"] = float(rng.randrange(9))
        record.state = rng.choice([State.COMPLETE, State.COMPLETE, State.PRUNED, State.FAILED])
        record.source = rng.choice(["search", "search", "R1"])
        record.experiment["model"] = rng.choice("ab")
        kept = contenders([*kept, record], aims, 3, compare)
        assert numbers(kept) == numbers(contenders(records, aims, 3, compare)), "one by one as all at once"
    assert {record.trial for record in finalists(records, aims, 3, compare)} <= {record.trial for record in kept}


# Values compared


def of_models(make_record: Any, *told: tuple[str, float]) -> list[Record]:
    records = [make_record(trial, values=[value]) for trial, (_, value) in enumerate(told)]
    for record, (model, _) in zip(records, told, strict=True):
        record.experiment["model"] = model
    return records


def test_each_value_has_its_finalists(make_record: Any, objective: Objective) -> None:
    records = of_models(make_record, ("a", 0.9), ("a", 0.8), ("a", 0.7), ("b", 0.5), ("b", 0.6), ("c", 0.75))
    assert numbers(finalists(records, [objective], 1, "model")) == [0, 5, 4]
    assert numbers(finalists(records, [objective], 2, "model")) == [0, 1, 5, 4, 3]
    assert numbers(finalists(records, [objective], 2)) == [0, 1]


def test_what_standings_are_made_of(make_record: Any, objective: Objective) -> None:
    """Searched trials that have ended; what a failed one had reached is no score."""
    records = of_models(make_record, ("b", 0.9), ("a", 0.8), ("a", 0.7), ("a", 0.6), ("a", 0.5), ("b", 0.4))
    records[0].source = "R1"
    states = (State.COMPLETE, State.COMPLETE, State.PRUNED, State.FAILED, State.RUNNING, State.INFEASIBLE)
    for record, state in zip(records, states, strict=True):
        record.state = state
    assert ended_by_value(records, "model", objective) == {"a": [(1, 0.8), (2, 0.7), (3, None)], "b": [(5, None)]}
