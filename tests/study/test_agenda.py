"""Which trials a study has yet to run, seed replicates of the finalists among them."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seg.experiment import Experiment
from study import agenda
from study.records import REPLICATE, Record, State, read_record, read_records, write_record
from study.search import Proposal
from study.spec import Spec, load_spec
from study.store import Store
from study.tidy import begin_again

MakeRecord = Callable[..., Record]


def two_of_three_seeds(*overrides: str) -> Spec:
    return load_spec("phantom", ["trials=4", "finalists={top: 2, seeds: 3}", *overrides])


def begun(proposal: Proposal, make_record: MakeRecord, state: State = State.COMPLETE) -> Record:
    record = make_record(proposal.trial, state, [0.9], source=proposal.source, experiment=proposal.experiment)
    record.replicate_of = proposal.replicate_of
    return record


def told(proposals: list[Proposal]) -> list[tuple[int, int | None, int]]:
    return [(one.trial, one.replicate_of, one.experiment.seed) for one in proposals]


@pytest.fixture
def searched(make_record: MakeRecord) -> list[Record]:
    """Trial 2 leads, then 0; 3 was stopped early."""
    finished = [make_record(trial, values=[value]) for trial, value in enumerate((0.5, 0.1, 0.7))]
    return [*finished, make_record(3, State.PRUNED, [0.8])]


def test_the_best_are_trained_again_with_the_seeds_after_theirs(searched: list[Record]) -> None:
    found = agenda.replicates(two_of_three_seeds(), searched)
    assert told(found) == [(4, 2, 1), (5, 2, 2), (6, 0, 1), (7, 0, 2)]
    assert {one.source for one in found} == {REPLICATE}
    original = Experiment.from_json(searched[2].experiment)
    assert all(getattr(found[0].experiment, name) == value for name, value in vars(original).items() if name != "seed")


def test_nobody_is_trained_again_before_the_search_has_ended(searched: list[Record]) -> None:
    spec = two_of_three_seeds()
    assert agenda.replicates(spec, searched[:3]) == []
    searched[1].state = State.RUNNING
    assert agenda.replicates(spec, searched) == []


def test_nobody_is_trained_again_where_the_spec_asks_for_one_seed(searched: list[Record]) -> None:
    assert agenda.replicates(two_of_three_seeds("finalists.seeds=1"), searched) == []
    assert agenda.is_done(two_of_three_seeds("finalists.seeds=1"), searched)
    assert not agenda.is_done(two_of_three_seeds(), searched)


@pytest.mark.parametrize("seed", range(20))
def test_wherever_it_is_killed_each_replicate_is_run_once(
    searched: list[Record], make_record: MakeRecord, seed: int
) -> None:
    """First records may be lost, and arrive in any order; a replicate may have failed, or still run."""
    rng, spec, records = random.Random(seed), two_of_three_seeds(), list(searched)
    proposed: dict[int, Proposal] = {}
    for _ in range(6):
        left = agenda.replicates(spec, records)
        for proposal in left:
            earlier = proposed.setdefault(proposal.trial, proposal)
            assert earlier == proposal, "a number never comes to mean another experiment"
        arrived = rng.sample(left, rng.randint(0, len(left)))
        states = [State.COMPLETE, State.FAILED, State.RUNNING]
        records += [begun(proposal, make_record, rng.choice(states)) for proposal in arrived]
    records += [begun(proposal, make_record) for proposal in agenda.replicates(spec, records)]
    again = [record for record in records if record.replicate_of is not None]
    assert sorted(record.trial for record in again) == [4, 5, 6, 7]
    assert sorted((r.replicate_of, r.experiment["seed"]) for r in again) == [(0, 1), (0, 2), (2, 1), (2, 2)]
    going_on = [one.trial for one in agenda.given(spec, records)]
    assert going_on == [record.trial for record in again if record.state is State.RUNNING]
    assert agenda.is_done(spec, records) == (not going_on)


def test_one_that_goes_on_is_still_a_replicate(searched: list[Record], make_record: MakeRecord) -> None:
    spec = two_of_three_seeds()
    first = begun(agenda.replicates(spec, searched)[0], make_record, State.RUNNING)
    (going_on,) = agenda.given(spec, [*searched, first])
    assert (going_on.trial, going_on.replicate_of, going_on.record) == (4, 2, first)


def test_more_trials_than_it_began_with_have_the_numbers_behind_its_replicates(
    searched: list[Record], make_record: MakeRecord
) -> None:
    records = searched + [begun(one, make_record) for one in agenda.replicates(two_of_three_seeds(), searched)]
    more = two_of_three_seeds("trials=6")
    assert agenda.free(more, records) == [8, 9]
    assert agenda.replicates(more, records) == []
    records += [make_record(8, values=[0.9]), make_record(9, values=[0.2])]
    assert agenda.free(more, records) == []
    assert told(agenda.replicates(more, records)) == [(10, 8, 1), (11, 8, 2)], "trial 2 has had its own"


def test_a_number_whose_first_record_was_lost_is_proposed_again(searched: list[Record]) -> None:
    assert agenda.free(two_of_three_seeds(), [searched[0], searched[2]]) == [1, 3]


def test_baselines_come_first(spec: Spec, make_record: MakeRecord) -> None:
    names: list[Any] = [(one.trial, one.source) for one in agenda.given(spec, [make_record(1)])]
    assert names == [(number, spec.baselines[number].name) for number in (0, 2, 3)]
    assert agenda.free(spec, [make_record(1)])[0] == len(spec.baselines)


def test_a_replicate_that_is_retried_stays_one(searched: list[Record], make_record: MakeRecord, tmp_path: Path) -> None:
    spec, store = two_of_three_seeds(), Store(str(tmp_path))
    records = searched + [begun(one, make_record, State.FAILED) for one in agenda.replicates(spec, searched)]
    for record in records:
        write_record(store, record)
    begin_again(store, records[4])
    again = read_record(store, 4)
    assert (again.state, again.source, again.replicate_of) == (State.RUNNING, REPLICATE, 2)
    assert [one.trial for one in agenda.given(spec, read_records(store))] == [4]
    assert agenda.replicates(spec, read_records(store)) == []
