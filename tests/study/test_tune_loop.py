"""What Tune is given of a search; the events of trials are in test_recorder."""

import pickle
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ray.tune.search import Searcher

from seg.experiment import Experiment
from study.messages import LaneSettings
from study.objective import Objective
from study.recorder import Recorder
from study.records import read_records
from study.search import Search
from study.spec import Spec, load_spec
from study.store import Store
from study.tune_loop import Events, Results, Trials

Begin = Callable[[Spec, Callable[[], int]], Trials]


@pytest.fixture
def begin() -> Iterator[Begin]:
    begun: list[Recorder] = []

    def begin(spec: Spec, lanes: Callable[[], int]) -> Trials:
        store, search = Store(f"memory://{uuid.uuid4().hex}"), Search(spec, [])
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
    trials._recorder._writer.flush()
    records = read_records(trials._recorder._store)
    assert [Experiment.from_json(c["experiment"]) for c in configs] == [
        Experiment.from_json(record.experiment) for record in records
    ]
    assert trials.numbers["tune-7"] == 7


def test_no_more_trials_at_a_time_than_there_are_lanes(begin: Begin) -> None:
    lanes = 2
    trials = begin(load_spec("phantom", ["trials=6"]), lambda: lanes)
    assert [bool(trials.suggest(f"tune-{n}")) for n in range(3)] == [True, True, False]
    lanes = 3  # a node joined
    assert trials.suggest("tune-2") and trials.suggest("tune-3") is None
    lanes = 2  # and left again: the next trial that ends makes room for none
    trials.on_trial_complete("tune-0")
    assert trials.suggest("tune-3") is None
    trials.on_trial_complete("tune-1")
    assert trials.suggest("tune-3")


def test_tune_keeps_no_copy_of_a_study(begin: Begin, tmp_path: Any) -> None:
    """It would save them all, again and again, with every record that they lead to."""
    trials = begin(load_spec("phantom"), lambda: 2)
    events = Events(trials._recorder, trials.numbers, True, print)
    for part in (trials, events, Results(trials._recorder, trials.numbers, events)):
        assert part.__getstate__() == {} and len(pickle.dumps(part)) < 200
    trials.save(str(tmp_path / "state"))
    assert not list(tmp_path.iterdir())
