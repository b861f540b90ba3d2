"""The mirror over real databases, read back by Optuna itself, and by optuna-dashboard."""

import json
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from optuna.storages import RDBStorage
from optuna_database import (
    COMPLETE,
    FAIL,
    NAME,
    PRUNED,
    RUNNING,
    URI,
    eventually,
    mirrored_at_once,
    searched,
    study_in,
    trials_in,
)
from own_specs import WITH_BASELINES
from s3_server import free_port

from study.mirror.optuna_mirror import mirrored
from study.search import space
from study.spec import Spec, load_spec
from study.store.records import State

# What a person sees


def test_a_trial_shows_while_it_runs(url: str, mirror: Any, make_record: Any, spec: Spec) -> None:
    record = make_record(0, State.RUNNING, [], experiment=searched(spec, 0))
    begun = mirror()
    begun.update(record)
    assert eventually(lambda: [t.state for t in trials_in(url)]) == [RUNNING]
    rows = make_record(0, State.RUNNING, [0.5, 0.7, 0.6]).epochs
    for epoch in (1, 2, 3):
        record.epochs.append(rows[epoch - 1])
        record.best_epoch = min(epoch, 2)
        begun.update(record)
        assert eventually(lambda epoch=epoch: len(trials_in(url)[0].intermediate_values) == epoch)
    record.state, record.reason = State.COMPLETE, ""
    begun.update(record)
    (trial,) = eventually(lambda: [t for t in trials_in(url) if t.state == COMPLETE])
    assert trial.intermediate_values == {1: 0.5, 2: 0.7, 3: 0.6}
    assert trial.value == 0.7 and trial.user_attrs["best_epoch"] == 2


def test_each_state(url: str, make_record: Any, spec: Spec) -> None:
    records = [
        make_record(0, State.COMPLETE, [0.5, 0.7, 0.6]),
        make_record(1, State.PRUNED, [0.4, 0.3]),
        make_record(2, State.FAILED, [0.4]),
        make_record(3, State.INFEASIBLE, []),
        make_record(4, State.RUNNING, [0.4]),
        make_record(5, State.COMPLETE, [None]),
    ]
    records[2].reason = "loss is NaN"
    trials = mirrored_at_once(url, spec, *records)
    assert [t.number for t in trials] == [t.user_attrs["trial"] for t in trials] == [0, 1, 2, 3, 4, 5]
    assert [t.state for t in trials] == [COMPLETE, PRUNED, FAIL, FAIL, RUNNING, FAIL]
    # Complete: the best epoch. Pruned: the last one, as Optuna itself does it.
    assert [t.value for t in trials] == [0.7, 0.3, None, None, None, None]
    assert [t.intermediate_values for t in trials[:3]] == [{1: 0.5, 2: 0.7, 3: 0.6}, {1: 0.4, 2: 0.3}, {1: 0.4}]
    about = trials[2].user_attrs
    assert (about["id"], about["source"], about["state"]) == ("id2", "search", "FAILED")
    assert about["reason"] == "loss is NaN" and about["best_epoch"] == 1
    assert "reason" not in trials[0].user_attrs and trials[3].user_attrs["state"] == "INFEASIBLE"


def test_parameters_are_the_search_s(url: str, make_record: Any, spec: Spec) -> None:
    experiments = [searched(spec, seed) for seed in range(8)]
    trials = mirrored_at_once(url, spec, *(make_record(n, experiment=e) for n, e in enumerate(experiments)))
    for experiment, trial in zip(experiments, trials, strict=True):
        assert (trial.params, trial.distributions) == space.optuna_values(experiment, spec)
        assert trial.params["decoder_lr"] == experiment.decoder_lr and trial.params["loss"] == experiment.loss
    assert len({frozenset(trial.params) for trial in trials}) > 1, "the search is conditional"


def test_a_baseline_outside_the_search_space_has_its_choices_as_attributes(
    url: str, make_record: Any, spec: Spec
) -> None:
    baselines = [(n, e) for n, e in space.baselines(spec) if space.optuna_values(e, spec) is None]
    name, experiment = baselines[0]
    (trial,) = mirrored_at_once(url, spec, make_record(0, source=name, experiment=experiment))
    assert trial.params == {} and trial.user_attrs["source"] == name
    assert trial.user_attrs["decoder_lr"] == experiment.decoder_lr and trial.user_attrs["model"] == experiment.model


@pytest.mark.parametrize(
    ("metric", "mode", "direction"), [("val_iou", "max", "MAXIMIZE"), ("val_loss", "min", "MINIMIZE")]
)
def test_the_study_says_what_it_is(
    url: str, make_record: Any, spec: Spec, metric: str, mode: str, direction: str
) -> None:
    spec = load_spec(WITH_BASELINES, [f"objective.metric={metric}", f"objective.mode={mode}"])
    mirrored_at_once(url, spec, make_record(0, values=[0.5, 0.4], metric=metric, mode=mode))
    study = study_in(url)
    assert study.direction.name == direction and study.metric_names == [metric]
    assert study.user_attrs == {"uri": URI, "dataset": "isic2016", "objective": metric}
    assert study.best_value == (0.5 if mode == "max" else 0.4)


def test_several_objectives_are_several_there(url: str, make_record: Any, spec: Spec) -> None:
    several = load_spec(WITH_BASELINES, ["objective=[{metric: val_iou}, {metric: latency_ms, mode: min}]"])
    states = [State.COMPLETE, State.COMPLETE, State.COMPLETE, State.PRUNED, State.COMPLETE, State.RUNNING]
    records = [make_record(n, state, [0.5 + n / 10, 0.1]) for n, state in enumerate(states)]
    for record, latency_ms in zip(records, [3.0, 9.0, 2.0, 1.0, None, 1.0], strict=True):
        record.latency_ms = latency_ms
    trials = mirrored_at_once(url, several, *records)
    assert [t.state for t in trials] == [COMPLETE, COMPLETE, COMPLETE, PRUNED, FAIL, RUNNING]
    assert [t.values for t in trials] == [[0.5, 3.0], [0.6, 9.0], [0.7, 2.0], None, None, None]
    assert trials[3].intermediate_values == {1: 0.8, 2: 0.1}, "as of the first objective"
    study = study_in(url)
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.metric_names == ["val_iou", "latency_ms"]
    assert [t.user_attrs["trial"] for t in study.best_trials] == [2]
    assert mirrored_at_once(url, several, *records)[2].number == 2, "a second session finds it in line"


def test_seed_replicates_are_no_trials_of_the_search(url: str, make_record: Any, spec: Spec) -> None:
    repeated = make_record(100_000, values=[0.99], replicate_of=0)
    trials = mirrored_at_once(url, spec, make_record(0), repeated, make_record(1))
    assert [t.user_attrs["trial"] for t in trials] == [0, 1] and study_in(url).best_value == 0.5


def test_times_are_this_machine_s(url: str, make_record: Any, spec: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Etc/GMT-2")  # two hours ahead of UTC
    time.tzset()
    try:
        record = make_record(0)
        record.started, record.finished = "2026-01-01T10:00:00+00:00", "2026-01-01T11:30:00+00:00"
        (trial,) = mirrored_at_once(url, spec, record)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert str(trial.datetime_start) == "2026-01-01 12:00:00" and str(trial.datetime_complete) == "2026-01-01 13:30:00"


# It never costs the study anything


def test_the_caller_goes_on_with_its_record(url: str, mirror: Any, make_record: Any) -> None:
    record = make_record(0, State.COMPLETE, [0.5])
    begun = mirror()
    begun.update(record)
    record.state, record.epochs[:] = State.FAILED, []
    begun.close()
    (trial,) = trials_in(url)
    assert trial.state == COMPLETE and trial.intermediate_values == {1: 0.5}


def test_many_changes_of_one_trial_are_one_write(url: str, mirror: Any, make_record: Any, spec: Spec) -> None:
    begun = mirror()
    for epochs in range(1, 50):
        begun.update(make_record(0, State.RUNNING, [0.5] * epochs))
    assert len(begun._waiting) <= 1
    begun.close()
    with sqlalchemy.create_engine(url).connect() as connection:
        rows = connection.execute(sqlalchemy.text("SELECT step FROM trial_intermediate_values ORDER BY step"))
        assert [row[0] for row in rows] == list(range(1, 50))


def test_without_an_address_there_is_none(spec: Spec, make_record: Any) -> None:
    with mirrored(None, NAME, URI, spec, [make_record(0)], print) as mirror:
        mirror(make_record(1))


# optuna-dashboard


@pytest.fixture
def dashboard() -> Iterator[Callable[[str], str]]:
    """dashboard(url): the address of one that shows this database."""
    running: list[subprocess.Popen[bytes]] = []

    def start(url: str) -> str:
        port = free_port()
        program = Path(sys.executable).parent / "optuna-dashboard"
        words = [program, url, "--host", "127.0.0.1", "--port", str(port), "--server", "wsgiref", "--quiet"]
        running.append(subprocess.Popen(words, stderr=subprocess.DEVNULL))
        assert eventually(lambda: answers(f"http://127.0.0.1:{port}/api/studies"), 60)
        return f"http://127.0.0.1:{port}"

    yield start
    for process in running:
        process.terminate()
        process.wait(30)


def answers(address: str) -> Any:
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return json.load(answer)
    except OSError:
        return None


def test_optuna_dashboard_shows_every_trial(url: str, make_record: Any, spec: Spec, dashboard: Any) -> None:
    states = 5 * [State.COMPLETE] + 3 * [State.PRUNED] + [State.FAILED, State.INFEASIBLE] + 2 * [State.RUNNING]
    records = [make_record(n, state, [0.1, 0.2], experiment=searched(spec, n)) for n, state in enumerate(states)]
    mirrored_at_once(url, spec, *records)
    address = dashboard(url)
    (study,) = answers(f"{address}/api/studies")["study_summaries"]
    assert study["study_name"] == NAME and study["directions"] == ["maximize"]
    shown = answers(f"{address}/api/studies/{study['study_id']}?after=0")
    assert shown["objective_names"] == ["val_iou"]
    assert Counter(t["state"] for t in shown["trials"]) == {"Complete": 5, "Pruned": 3, "Fail": 2, "Running": 2}
    for trial, record in zip(shown["trials"], records, strict=True):
        about = {one["key"]: one["value"] for one in trial["user_attrs"]}
        assert about["id"] == record.id and about["trial"] == str(record.trial) == str(trial["number"])
        assert trial["intermediate_values"] == [{"step": 1, "value": 0.1}, {"step": 2, "value": 0.2}]


def test_a_database_of_ours_is_optuna_s_own(url: str, make_record: Any, spec: Spec) -> None:
    """So that its own commands work on it: `optuna trials`, `optuna storage upgrade`."""
    mirrored_at_once(url, spec, make_record(0))
    storage = RDBStorage(url)
    assert storage.get_current_version() == storage.get_head_version()
