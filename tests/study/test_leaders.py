"""Who leads, and who is scored on the test split."""

import random
from typing import Any

import pytest

from study.leaders import finalists, ranked
from study.objective import Objective
from study.records import Record, State


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
    assert numbers(finalists(records, objective, 2)) == [1]


def test_a_trial_without_a_score_is_left_out(make_record: Any, objective: Objective) -> None:
    records = [make_record(0, values=[]), make_record(1, values=[None]), make_record(2, values=[0.0])]
    assert numbers(ranked(records, objective, tuple(State))) == [2]


def test_finished_baselines_are_finalists_too(make_record: Any, objective: Objective) -> None:
    records = [
        make_record(0, values=[0.1], source="R1"),
        make_record(1, State.PRUNED, [0.8], source="R3"),
        *(make_record(trial, values=[0.2 + trial / 100]) for trial in range(2, 6)),
    ]
    assert numbers(finalists(records, objective, 2)) == [5, 4, 0]
    assert numbers(finalists(records, objective, 0)) == [0]
    assert numbers(finalists(records, objective, 99)) == [5, 4, 3, 2, 0]


def test_replicates_follow_the_finalists_that_they_repeat_and_never_lead(
    make_record: Any, objective: Objective
) -> None:
    records = [make_record(trial, values=[trial / 10]) for trial in range(4)]
    again = [(4, 3, State.COMPLETE), (5, 3, State.FAILED), (6, 0, State.COMPLETE), (7, 3, State.RUNNING)]
    for trial, of, state in again:
        records.append(make_record(trial, state, [0.99], source="replicate"))
        records[-1].replicate_of = of
    assert numbers(ranked(records, objective, tuple(State))) == [3, 2, 1, 0]
    assert numbers(finalists(records, objective, 2)) == [3, 2, 4]


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
        kept = {finalist.trial for finalist in finalists(records, objective, count)}
        assert not fallen & kept
        fallen |= {r.trial for r in records if r.state.ended} - kept
