"""Which finalists are still to be trained with other seeds, and under which numbers."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from own_specs import SEARCHED

from seg.experiment import Experiment
from study.search import replicates
from study.search.searcher import Proposal
from study.spec import Spec, load_spec
from study.store import Store
from study.store.records import REPLICATE, Record, State, read_record, read_records, write_record
from study.trials.recorder import begin_again

MakeRecord = Callable[..., Record]


def three_seeds(*overrides: str) -> Spec:
    return load_spec(SEARCHED, ["trials=4", "finalists={top: 2, seeds: 3}", *overrides])


def begun(proposal: Proposal, make_record: MakeRecord, state: State = State.COMPLETE) -> Record:
    of = proposal.replicate_of
    return make_record(proposal.trial, state, [0.9], experiment=proposal.experiment, replicate_of=of)


def told(proposals: list[Proposal]) -> list[tuple[int, int | None, int]]:
    return [(one.trial, one.replicate_of, one.experiment.seed) for one in proposals]


@pytest.fixture
def searched(make_record: MakeRecord) -> list[Record]:
    """Trial 2 leads, then 0; 3 was stopped early."""
    finished = [make_record(trial, values=[value]) for trial, value in enumerate((0.5, 0.1, 0.7))]
    return [*finished, make_record(3, State.PRUNED, [0.8])]


def test_the_best_are_trained_again_with_seeds_that_no_searched_trial_has(searched: list[Record]) -> None:
    found = replicates.left(three_seeds(), searched)
    wanted = [(100_002, 2, 100_000), (200_002, 2, 200_000), (100_000, 0, 100_000), (200_000, 0, 200_000)]
    assert told(found) == wanted and {one.source for one in found} == {REPLICATE}
    original = Experiment.from_json(searched[2].experiment)
    assert all(getattr(found[0].experiment, name) == value for name, value in vars(original).items() if name != "seed")


def test_two_samples_of_the_same_choices_have_seeds_of_their_own(searched: list[Record]) -> None:
    searched[0].experiment["seed"] = 1
    seeds = [seed for _, _, seed in told(replicates.left(three_seeds(), searched))]
    assert seeds == [100_000, 200_000, 100_001, 200_001]


def test_nobody_is_trained_again_where_the_spec_asks_for_one_seed(searched: list[Record]) -> None:
    assert replicates.left(three_seeds("finalists.seeds=1"), searched) == []


@pytest.mark.parametrize("seed", range(20))
def test_wherever_it_is_killed_each_replicate_is_run_once(
    searched: list[Record], make_record: MakeRecord, seed: int
) -> None:
    """First records may be lost, and arrive in any order; a replicate may have failed, or still run."""
    rng, spec, records = random.Random(seed), three_seeds(), list(searched)
    proposed: dict[int, Experiment] = {}
    for _ in range(6):
        left = [one for one in replicates.left(spec, records) if one.record is None]
        for proposal in left:
            earlier = proposed.setdefault(proposal.trial, proposal.experiment)
            assert earlier == proposal.experiment, "a number never comes to mean another experiment"
        states = [State.COMPLETE, State.FAILED, State.RUNNING]
        arrived = rng.sample(left, rng.randint(0, len(left)))
        records += [begun(proposal, make_record, rng.choice(states)) for proposal in arrived]
    running = [record for record in records if record.state is State.RUNNING]
    left = replicates.left(spec, records)
    assert [one.record for one in left[: len(running)]] == running, "those begun come first"
    records += [begun(proposal, make_record) for proposal in left[len(running) :]]
    again = [record for record in records if record.replicate_of is not None]
    assert sorted(record.trial for record in again) == [100_000, 100_002, 200_000, 200_002]
    assert [one.record for one in replicates.left(spec, records)] == running


def test_one_that_goes_on_is_still_a_replicate(searched: list[Record], make_record: MakeRecord) -> None:
    """Of a trial that leads no more, too: it has to end."""
    first = begun(replicates.left(three_seeds(), searched)[0], make_record, State.RUNNING)
    searched[2].state = State.FAILED
    going_on, *_ = replicates.left(three_seeds(), [*searched, first])
    assert (going_on.trial, going_on.replicate_of, going_on.record) == (100_002, 2, first)


def test_one_that_is_retried_is_still_a_replicate(
    searched: list[Record], make_record: MakeRecord, tmp_path: Path
) -> None:
    spec, store = three_seeds("finalists.seeds=2"), Store(str(tmp_path))
    records = searched + [begun(one, make_record, State.FAILED) for one in replicates.left(spec, searched)]
    for record in records:
        write_record(store, record)
    begin_again(store, records[4])
    again = read_record(store, 100_002)
    assert (again.state, again.source, again.replicate_of) == (State.RUNNING, REPLICATE, 2)
    assert [one.trial for one in replicates.left(spec, read_records(store))] == [100_002]


def test_of_several_objectives_those_that_stand_for_the_front(searched: list[Record]) -> None:
    """The best by the first; then, of 0.5 at 2 ms and 0.7 at 9, who dominates more of what is worse than 10 ms."""
    spec = three_seeds("objective=[{metric: val_iou}, {metric: latency_ms, mode: min}]", "finalists.seeds=2")
    searched[3].state = State.COMPLETE
    for record, latency_ms in zip(searched, (2.0, 1.0, 9.0, 10.0), strict=True):
        record.latency_ms = latency_ms
    assert [one.replicate_of for one in replicates.left(spec, searched)] == [3, 0]


def test_of_what_is_compared_so_many_of_each_value(searched: list[Record]) -> None:
    spec = three_seeds("compare=model", "finalists={top: 1, seeds: 2}")
    for trial, model in ((0, "mobilenetv2_plain"), (1, "mobilenetv2_plain")):
        searched[trial].experiment["model"] = model
    assert [one.replicate_of for one in replicates.left(spec, searched)] == [2, 0]
    assert replicates.most(spec) == 2


@pytest.mark.parametrize(
    ("overrides", "most"),
    [
        ([], 4),
        (["finalists.seeds=1"], 0),
        (["finalists.top=0"], 0),
        (["compare=model"], 8),
        (["compare=model", "finalists.top=4"], 8),  # four trials are all that there are
    ],
)
def test_how_many_there_are_at_most(overrides: list[str], most: int) -> None:
    assert replicates.most(three_seeds(*overrides)) == most
