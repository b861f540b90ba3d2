"""Rounds of a search: what Tune leaves unfinished is taken up again."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from own_specs import SEARCHED
from ray.tune.search import Searcher

from study.driver import conduct
from study.driver.plan import Plan
from study.driver.preparation import Prepared
from study.lanes.resources import Allotment, Cluster, Machine
from study.lanes.tune import Events, Results, Trials
from study.spec import load_spec
from study.store import Store
from study.store.records import Record, State, read_records, read_used
from study.trials.messages import EpochDone, Report


class FailingTune:
    """In place of Tune: asks for every trial, and each of the first `failures` sessions loses the lane of the third."""

    def __init__(self, failures: int):
        self.failures, self.asked = failures, list[list[int]]()
        self.score: Callable[[int], float] = lambda trial: 0.5

    def __call__(self, study: str, trials: Trials, events: Events, most_lanes: int, scratch: str) -> None:
        self.asked.append([])
        results = Results(trials.recorder, trials.numbers, events)
        while (config := trials.suggest(id := f"{len(self.asked)}-{len(self.asked[-1])}")) != Searcher.FINISHED:
            if config is None:
                continue  # none for now: Tune asks again
            self.asked[-1].append(config["trial"])
            trial = _Trial(id)
            if config["trial"] == 2 and len(self.asked) <= self.failures:
                events.on_trial_error(0, [], trial)
            else:
                row = {"epoch": 1, "val_iou": self.score(config["trial"]), "seconds": 1.0, "images_per_second": 1.0}
                assert results(id, {"report": Report(EpochDone(row), done=True)})
                events.on_trial_complete(0, [], trial)
            trials.on_trial_complete(id)


class _Trial:
    last_result: dict[str, Any] = {}  # noqa: RUF012 # never written

    def __init__(self, trial_id: str):
        self.trial_id = trial_id

    def get_pickled_error(self) -> Exception:
        return RuntimeError("the actor died")


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setattr(conduct.session, "check", lambda plan, store: None)
    spec = load_spec(SEARCHED, ["trials=5", "epochs=1", "early_stopping.min_epochs=1"])
    packed: Any = type("Packed", (), {"folder": tmp_path})()
    prepared = Prepared(tmp_path, None, packed, Cluster((Machine(2, 0),)), Allotment(1, 1, 0.0, 2))
    return Plan("study", spec, Store(str(tmp_path / "study")), "", prepared)


def test_a_trial_whose_first_record_was_never_sent_is_proposed_again(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, make_record: Any
) -> None:
    """The process died while records were on their way, and they do not arrive in the order of their numbers."""
    monkeypatch.setattr("study.lanes.tune.run", tune := FailingTune(0))
    earlier = [make_record(trial, epochs=1) for trial in (0, 1, 3)]
    records = conduct._search(plan, earlier, "", lambda record: None)
    assert tune.asked == [[2, 4]] and [record.trial for record in records] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("failures", "state"), [(0, State.COMPLETE), (3, State.COMPLETE), (99, State.FAILED)])
def test_a_trial_whose_lane_was_lost_is_run_in_the_next_round(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, failures: int, state: State, capsys: pytest.CaptureFixture[str]
) -> None:
    tune = FailingTune(failures)
    monkeypatch.setattr("study.lanes.tune.run", tune)
    records = conduct._search(plan, [], "", lambda record: None)
    assert [record.trial for record in records] == [0, 1, 2, 3, 4]
    assert {record.state for record in records if record.trial != 2} == {State.COMPLETE}
    assert records[2].state is state and records == read_records(plan.store)
    assert tune.asked == [[0, 1, 2, 3, 4], *[[2]] * min(failures, conduct.ROUNDS - 1)]
    assert ("lanes were lost: trials 2 go on" in capsys.readouterr().out) == (failures > 0)


# The best with other seeds


def with_spec(plan: Plan, *overrides: str) -> Plan:
    spec = load_spec(SEARCHED, ["trials=5", "epochs=3", "early_stopping.min_epochs=1", *overrides])
    return dataclasses.replace(plan, spec=spec)


def repeated(records: list[Record]) -> list[tuple[int, int, int]]:
    found = [record for record in records if record.replicate_of is not None]
    return [(record.trial, record.replicate_of or 0, record.experiment["seed"]) for record in found]


@pytest.mark.parametrize("scheduler", ["asha", "promoting_asha"])
def test_the_best_are_trained_again_once_the_search_has_ended(
    plan: Plan, scheduler: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the same session of Tune, whose lanes are warm; a trial whose lane was lost is waited for."""
    monkeypatch.setattr("study.lanes.tune.run", tune := FailingTune(1))
    tune.score = lambda trial: {2: 0.9, 4: 0.8}.get(trial, 0.5)
    seeded = with_spec(plan, "epochs=1", f"early_stopping.scheduler={scheduler}", "finalists.seeds=2")
    records = conduct._search(seeded, [], "", lambda record: None)
    assert tune.asked == [[0, 1, 2, 3, 4], [2, 100_002, 100_004]]
    assert repeated(records) == [(100_002, 2, 100_000), (100_004, 4, 100_000)]
    assert records == read_records(plan.store) and conduct._is_done(seeded.spec, records)
    out = capsys.readouterr().out
    assert "the best are trained with other seeds: trials 2, 4" in out and "7/7 trials" in out
    assert "trial 100002  COMPLETE     1/1 epochs  val_iou 0.5000  trial 2 with seed 100000: " in out


def test_a_study_that_is_resumed_finishes_its_missing_replicates(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.lanes.tune.run", tune := FailingTune(0))
    records = conduct._search(with_spec(plan, "epochs=1"), [], "", lambda record: None)
    seeded = with_spec(plan, "epochs=1", "finalists.seeds=3")
    assert not conduct._is_done(seeded.spec, records)
    whole = conduct._search(seeded, records, "", lambda record: None)
    assert tune.asked[1:] == [[100_000, 200_000, 100_001, 200_001]]
    half = [record for record in whole if record.trial not in (200_000, 100_001)]
    assert repeated(conduct._search(seeded, half, "", lambda record: None)) == repeated(whole)
    assert tune.asked[2:] == [[200_000, 100_001]]


def test_more_trials_leave_the_replicates_where_they_are(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sixth trial leads: it is repeated, and who led before was."""
    monkeypatch.setattr("study.lanes.tune.run", tune := FailingTune(0))
    seeds = "epochs=1", "finalists={top: 1, seeds: 2}"
    records = conduct._search(with_spec(plan, *seeds), [], "", lambda record: None)
    tune.score = lambda trial: 0.9
    records = conduct._search(with_spec(plan, *seeds, "trials=6"), records, "", lambda record: None)
    assert tune.asked == [[0, 1, 2, 3, 4, 100_000], [5, 100_005]]
    assert repeated(records) == [(100_000, 0, 100_000), (100_005, 5, 100_000)]


# Budgets


def test_trials_are_begun_as_long_as_the_budget_holds_them(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A trial takes a second, so says its record: after the first one the 0.9 s that are there hold no other."""
    monkeypatch.setattr("study.lanes.tune.run", tune := FailingTune(0))
    records = conduct._search(with_spec(plan, "epochs=1", "budget=0.015min"), [], "", lambda record: None)
    assert tune.asked == [[0]] and [record.trial for record in records] == [0]
    assert capsys.readouterr().out.count("budget nearly used (") == 1
    assert 0 < read_used(plan.store).hours < 0.01


def test_what_earlier_sessions_spent_counts(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, make_record: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two of two hours: nothing is begun, and what had not ended ends as it stands."""
    monkeypatch.setattr("study.lanes.tune.run", tune := FailingTune(0))
    plan.store.write_json("spent.json", {"hours": 2.0, "node_hours": {"": 2.0}})
    earlier = [make_record(0), make_record(1, State.RUNNING, [0.5], epochs=3)]
    told: list[Record] = []
    records = conduct._search(with_spec(plan, "budget=2h"), earlier, "", told.append)
    assert tune.asked == [] and [record.state for record in records] == [State.COMPLETE, State.PRUNED]
    assert records[1].reason == "stopped at epoch 1: 2 h 00 min of 2 h 00 min spent" and records[1].finished
    assert read_records(plan.store)[-1] == records[1] and told == [records[1]]
    out = capsys.readouterr().out
    assert (
        "trial    1  PRUNED" in out and "budget nearly used (2 h 00 min of 2 h 00 min): no new trials will start" in out
    )


def test_a_larger_budget_goes_on(plan: Plan, monkeypatch: pytest.MonkeyPatch, make_record: Any) -> None:
    monkeypatch.setattr("study.lanes.tune.run", tune := FailingTune(0))
    plan.store.write_json("spent.json", {"hours": 2.0, "node_hours": {"": 2.0}})
    records = conduct._search(with_spec(plan, "epochs=1", "budget=3h"), [make_record(0)], "", lambda record: None)
    assert tune.asked == [[1, 2, 3, 4]] and len(records) == 5
    assert read_used(plan.store).hours > 2 and read_used(plan.store).usd({"default": 1.5}) > 3
