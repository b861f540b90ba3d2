"""Rounds of a search: what Tune leaves unfinished is taken up again."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ray.tune.search import Searcher

from study import conduct
from study.plan import Plan
from study.preparation import Prepared
from study.records import State, read_records
from study.resources import Allotment, Cluster, Machine
from study.search import OptunaStudy
from study.spec import load_spec
from study.store import Store


class FailingTune:
    """In place of Tune: asks for every trial, and each of the first `failures` sessions loses the lane of the third."""

    def __init__(self, failures: int):
        self.failures, self.asked = failures, list[list[int]]()
        self.score: Callable[[int], float] = lambda trial: 0.5

    def __call__(self, plan: Plan, searcher: Any, stopping: Any, recorder: Any, samples: int, scratch: str) -> None:
        self.asked.append([])
        for number in range(samples):
            config = searcher.suggest(f"{len(self.asked)}-{number}")
            if config == Searcher.FINISHED:
                break
            self.asked[-1].append(config["trial"])
            trial = _Trial(f"{len(self.asked)}-{number}")
            if config["trial"] == 2 and len(self.asked) <= self.failures:
                recorder.on_trial_error(0, [], trial)
            else:
                row = {"epoch": 1, "val_iou": self.score(config["trial"]), "seconds": 1.0, "images_per_second": 1.0}
                recorder.on_trial_result(0, [], trial, {"row": row, "files": {}, "done": True})
                recorder.on_trial_complete(0, [], trial)
            searcher.on_trial_complete(trial.trial_id)


class _Trial:
    last_result: dict[str, Any] = {}  # noqa: RUF012 # never written

    def __init__(self, trial_id: str):
        self.trial_id = trial_id

    def get_pickled_error(self) -> Exception:
        return RuntimeError("the actor died")


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setattr(conduct.session, "check", lambda plan, store: None)
    spec = load_spec("phantom", ["trials=5", "epochs=1", "early_stopping.min_epochs=1"])
    packed: Any = type("Packed", (), {"folder": tmp_path})()
    prepared = Prepared(tmp_path, None, packed, Cluster((Machine(2, 0),)), Allotment(1, 1, 0.0, 2))
    return Plan("study", spec, Store(str(tmp_path / "study")), "", prepared)


def test_a_trial_whose_first_record_was_never_sent_is_proposed_again(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, make_record: Any
) -> None:
    """The process died while records were on their way, and they do not arrive in the order of their numbers."""
    monkeypatch.setattr(conduct, "_tune", tune := FailingTune(0))
    earlier = [make_record(trial, epochs=1) for trial in (0, 1, 3)]
    records = conduct._search(plan, earlier, "", lambda record: None)
    assert tune.asked == [[2, 4]] and [record.trial for record in records] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("failures", "state"), [(0, State.COMPLETE), (3, State.COMPLETE), (99, State.FAILED)])
def test_a_trial_whose_lane_was_lost_is_run_in_the_next_round(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, failures: int, state: State, capsys: pytest.CaptureFixture[str]
) -> None:
    tune = FailingTune(failures)
    monkeypatch.setattr(conduct, "_tune", tune)
    records = conduct._search(plan, [], "", lambda record: None)
    assert [record.trial for record in records] == [0, 1, 2, 3, 4]
    assert {record.state for record in records if record.trial != 2} == {State.COMPLETE}
    assert records[2].state is state and records == read_records(plan.store)
    assert tune.asked == [[0, 1, 2, 3, 4], *[[2]] * min(failures, conduct.ROUNDS - 1)]
    assert ("lanes were lost: trials 2 go on" in capsys.readouterr().out) == (failures > 0)


def repeated(records: list[Any]) -> list[tuple[int, int | None, int]]:
    found = [record for record in records if record.replicate_of is not None]
    return [(record.trial, record.replicate_of, record.experiment["seed"]) for record in found]


def test_the_best_are_trained_again_and_the_search_never_hears_of_it(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the same session of Tune, whose lanes are warm; a trial whose lane was lost is waited for."""
    monkeypatch.setattr(conduct, "_tune", tune := FailingTune(1))
    told: list[int] = []
    monkeypatch.setattr(OptunaStudy, "tell", lambda self, record: told.append(record.trial))
    tune.score = lambda trial: {2: 0.9, 4: 0.8}.get(trial, 0.5)
    mirrored: list[int] = []
    spec = load_spec("phantom", ["trials=5", "epochs=1", "early_stopping.min_epochs=1", "finalists.seeds=2"])
    seeded = dataclasses.replace(plan, spec=spec)
    records = conduct._search(seeded, [], "", lambda record: mirrored.append(record.trial))
    assert tune.asked == [[0, 1, 2, 3, 4], [2, 5, 6]]
    assert repeated(records) == [(5, 2, 1), (6, 4, 1)] and records == read_records(plan.store)
    assert set(told) == set(mirrored) == {0, 1, 2, 3, 4}
    assert "7/7 trials" in capsys.readouterr().out
    assert conduct.agenda.is_done(spec, records)


def test_a_study_that_is_resumed_finishes_its_missing_replicates(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conduct, "_tune", tune := FailingTune(0))
    records = conduct._search(plan, [], "", lambda record: None)
    spec = load_spec("phantom", ["trials=5", "epochs=1", "early_stopping.min_epochs=1", "finalists.seeds=3"])
    seeded = dataclasses.replace(plan, spec=spec)
    whole = conduct._search(seeded, records, "", lambda record: None)
    assert tune.asked[1:] == [[5, 6, 7, 8]]
    half = [record for record in whole if record.trial not in (6, 8)]
    assert repeated(conduct._search(seeded, half, "", lambda record: None)) == repeated(whole)
    assert tune.asked[2:] == [[6, 8]]
