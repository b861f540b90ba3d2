"""What Tune is given of a search; the events of trials are in test_recorder."""

import pickle
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from own_specs import SEARCHED
from ray.tune.search import Searcher

from seg.experiment import Experiment
from study.lanes.tune import Events, Results, Trials
from study.ranking.objective import Objective
from study.search.account import Account, Meter
from study.search.search import Search
from study.spec import Spec, load_spec
from study.store import Store
from study.store.records import State, Used, read_records
from study.trials.messages import EpochDone, LaneSettings, Report
from study.trials.recorder import Recorder

Begin = Callable[..., Trials]


class ClosedLater(Account):
    closing = False

    def __init__(self) -> None:
        super().__init__(None, {}, 0.0, Meter(Used(), list, clock=lambda: 0.0))

    def holds_another(self, hours: float | None = None, at_least: float = 0.0) -> bool:
        return not self.closing


@pytest.fixture
def begin() -> Iterator[Begin]:
    begun: list[Recorder] = []

    def begin(spec: Spec, lanes: Callable[[], int], account: Account | None = None) -> Trials:
        store, search = Store(f"memory://{uuid.uuid4().hex}"), Search(spec, [], account=account)
        settings = LaneSettings(store.uri, "pack", None, Objective("val_iou", "max"), 1, 0.0, 1)
        begun.append(Recorder(store, settings, [], search, lambda records: [], on_change=lambda record: None))
        return Trials(search, begun[-1], {"settings": "shared"}, lanes)

    yield begin
    for recorder in begun:
        recorder.close()


def test_each_trial_has_its_config_and_a_record_before_it_runs(begin: Begin, spec: Spec) -> None:
    trials = begin(spec, lambda: 99)
    configs: list[Any] = []
    while (config := trials.suggest(f"tune-{len(configs)}")) != Searcher.FINISHED:
        configs.append(config)
    assert [config["trial"] for config in configs] == list(range(30))
    assert all(config["settings"] == "shared" and config["paused_at"] == 0 for config in configs)
    trials.recorder._writer.flush()
    records = read_records(trials.recorder._store)
    assert [Experiment.from_json(c["experiment"]) for c in configs] == [
        Experiment.from_json(record.experiment) for record in records
    ]
    assert trials.numbers["tune-7"] == 7


def test_no_more_trials_at_a_time_than_there_are_lanes(begin: Begin) -> None:
    lanes = 2
    trials = begin(load_spec(SEARCHED, ["trials=6"]), lambda: lanes)
    assert [bool(trials.suggest(f"tune-{n}")) for n in range(3)] == [True, True, False]
    lanes = 3  # a node joined
    assert trials.suggest("tune-2") and trials.suggest("tune-3") is None
    lanes = 2  # and left again: the next trial that ends makes room for none
    trials.on_trial_complete("tune-0")
    assert trials.suggest("tune-3") is None
    trials.on_trial_complete("tune-1")
    assert trials.suggest("tune-3")


def test_a_budget_that_closes_between_two_trials_ends_the_paused_ones(begin: Begin) -> None:
    """No trial that ends thereafter is there to end them with."""
    account = ClosedLater()
    stopping = "early_stopping={scheduler: promoting_asha, min_epochs: 1, reduction_factor: 3}"
    trials = begin(load_spec(SEARCHED, ["trials=6", "epochs=2", stopping]), lambda: 1, account)
    recorder = trials.recorder

    def epoch(number: int, score: float) -> None:
        """Of the trial that the one lane takes; it leaves the lane then."""
        tune_id = f"tune-{len(trials.numbers)}"
        assert trials.suggest(tune_id)
        row = {"epoch": number, "val_iou": score, "seconds": 1.0, "images_per_second": 50.0}
        recorder.result(trials.numbers[tune_id], Report(EpochDone(row), done=number == 2))
        trials.on_trial_complete(tune_id)
        recorder.left(trials.numbers[tune_id])

    for score in (0.2, 0.5, 0.3):
        epoch(1, score)
    epoch(2, 0.6)
    assert [trial for trial, record in recorder.records.items() if record.paused_at] == [2], (
        "it may yet be among the best"
    )
    account.closing = True
    assert [trials.suggest("last"), trials.suggest("last")] == [None, Searcher.FINISHED]
    assert [recorder.records[trial].state for trial in range(3)] == [State.PRUNED, State.COMPLETE, State.PRUNED]


def test_tune_keeps_no_copy_of_a_study(begin: Begin, tmp_path: Any) -> None:
    """It would save them all, again and again, with every record that they lead to."""
    trials = begin(load_spec(SEARCHED), lambda: 2)
    events = Events(trials.recorder, trials.numbers, True, print)
    for part in (trials, events, Results(trials.recorder, trials.numbers, events)):
        assert part.__getstate__() == {} and len(pickle.dumps(part)) < 200
    trials.save(str(tmp_path / "state"))
    assert not list(tmp_path.iterdir())
