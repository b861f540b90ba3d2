"""Who leads, who is scored on the test split, and whose weights nobody needs again."""

import random
from typing import Any

import pytest

from study.leaders import finalists, ranked, superfluous
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


def test_what_is_superfluous(make_record: Any, objective: Objective) -> None:
    records = [
        make_record(0, values=[0.9]),
        make_record(1, values=[0.8]),
        make_record(2, State.PRUNED, [0.95]),
        make_record(3, State.RUNNING, [0.99]),
        make_record(4, State.FAILED, []),
    ]
    files = superfluous(records, objective, 1)
    checkpoints = {f"trials/{trial:05d}/checkpoint.safetensors" for trial in (0, 1, 2, 4)}
    assert set(files) == checkpoints | {f"trials/{trial:05d}/best.safetensors" for trial in (1, 2, 4)}


@pytest.mark.parametrize("seed", range(40))
def test_weights_of_a_finalist_are_never_superfluous_before(make_record: Any, seed: int) -> None:
    """Trials end in any order, in any state, with ties: whoever is a finalist at the end still has all its weights."""
    rng = random.Random(seed)
    mode = rng.choice(["max", "min"])
    objective = Objective("val_iou", "max" if mode == "max" else "min")
    count, total = rng.randrange(4), rng.randrange(1, 20)
    records = [
        make_record(trial, State.RUNNING, [rng.randrange(5) / 4], mode=mode, source=rng.choice(["search", "R1"]))
        for trial in range(total)
    ]
    gone: set[str] = set()
    for record in rng.sample(records, total):
        record.state = rng.choice([State.COMPLETE, State.COMPLETE, State.PRUNED, State.FAILED])
        now = set(superfluous(records, objective, count))
        assert gone <= now, "a file that was not needed is needed again"
        gone = now
    kept = {f"{record.folder}/best.safetensors" for record in finalists(records, objective, count)}
    assert not kept & gone
    assert len(gone) == 2 * total - len(kept), "the weights of the others stay behind"
