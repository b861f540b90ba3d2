"""Who takes part in an ensemble; what it predicts is looked at in a real study (tests/e2e/test_seeds_e2e.py)."""

from pathlib import Path
from typing import Any

import pytest
from own_specs import SEARCHED

from seg.errors import UserError
from study import ensemble
from study.spec import Spec, load_spec
from study.store import Store
from study.store.records import Record, State, write_record


def scored(record: Record) -> Record:
    record.test = {"iou": 0.5}
    return record


@pytest.fixture
def store(tmp_path: Path, make_record: Any) -> Store:
    """A baseline, two finalists of which one has a replicate, one that was no finalist, one that failed."""
    store = Store(str(tmp_path))
    records = [
        scored(make_record(0, values=[0.4], source="R1")),
        scored(make_record(1, values=[0.8])),
        make_record(2, values=[0.2]),
        scored(make_record(3, values=[0.6])),
        make_record(4, State.FAILED, []),
        scored(make_record(100_001, values=[0.7], replicate_of=1)),
    ]
    for record in records:
        write_record(store, record)
    return store


@pytest.fixture
def spec() -> Spec:
    return load_spec(SEARCHED, ["finalists=2"])


def members(*given: Any) -> list[int]:
    return [record.trial for record in ensemble._members(*given)]


def test_the_best_and_their_replicates_take_part(store: Store, spec: Spec) -> None:
    assert members(store, spec, None) == [1, 3, 100_001]
    assert members(store, load_spec(SEARCHED, ["finalists=1"]), None) == [1, 100_001]


def test_others_that_were_scored_are_named(store: Store, spec: Spec) -> None:
    assert members(store, spec, [3, 0, 3]) == [0, 3]


def test_one_that_was_not_scored_is_refused(store: Store, spec: Spec) -> None:
    with pytest.raises(UserError, match="--trials 2: is no finalist; choose from 0, 1, 3, 100001"):
        members(store, spec, [1, 2])


def test_a_study_without_finalists_has_no_ensemble(tmp_path: Path, make_record: Any, spec: Spec) -> None:
    store = Store(str(tmp_path))
    write_record(store, make_record(0))
    with pytest.raises(UserError, match="no finalist was scored on the sealed test split yet"):
        members(store, spec, None)
