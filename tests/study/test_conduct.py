"""Rounds of a search: what Tune leaves unfinished is taken up again."""

from pathlib import Path
from typing import Any

import pytest
from ray.tune.search import Searcher

from study import conduct
from study.plan import Plan
from study.preparation import Prepared
from study.recorder import Recorder
from study.records import State, read_records
from study.resources import Allotment, Cluster, Machine
from study.spec import load_spec
from study.store import Store
from study.tune_loop import Events, Results, Trials


class FailingTune:
    """In place of Tune: asks for every trial, and each of the first `failures` sessions loses the lane of the third."""

    def __init__(self, failures: int):
        self.failures, self.asked = failures, list[list[int]]()

    def __call__(self, plan: Plan, trials: Trials, events: Events, recorder: Recorder, scratch: str) -> None:
        self.asked.append([])
        results = Results(recorder, trials.numbers, events)
        while (config := trials.suggest(id := f"{len(self.asked)}-{len(self.asked[-1])}")) != Searcher.FINISHED:
            self.asked[-1].append(config["trial"])
            trial = _Trial(id)
            if config["trial"] == 2 and len(self.asked) <= self.failures:
                events.on_trial_error(0, [], trial)
            else:
                row = {"epoch": 1, "val_iou": 0.5, "seconds": 1.0, "images_per_second": 1.0}
                assert results(id, {"row": row, "files": {}, "done": True})
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
