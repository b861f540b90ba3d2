"""The mirror over real databases, read back by Optuna itself, and by optuna-dashboard."""

import json
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from postgres_server import PostgresServer
from sqlalchemy.pool import NullPool

from seg.experiment import Experiment
from study import optuna_mirror, space
from study.optuna_mirror import OptunaMirror, mirrored
from study.records import Record, State, write_record
from study.spec import Spec, load_spec
from study.store import Store

NAME, URI = "first", "s3://bucket/studies/first"
RUNNING, COMPLETE, PRUNED, FAIL = TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'study.db'}"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.new_database()


@pytest.fixture
def notices() -> list[str]:
    return []


@pytest.fixture
def mirror(url: str, spec: Spec, notices: list[str]) -> Iterator[Callable[..., OptunaMirror]]:
    """mirror(*records): one that has begun with these."""
    begun = []

    def begin(*records: Record) -> OptunaMirror:
        optuna_mirror.check(url, NAME, URI, spec, begun=bool(records))
        begun.append(OptunaMirror(url, NAME, URI, spec, notices.append))
        begun[-1].sync(records)
        return begun[-1]

    yield begin
    for one in begun:
        one.close()


def study_in(url: str, name: str = NAME) -> optuna.Study:
    return optuna.load_study(study_name=name, storage=RDBStorage(url, engine_kwargs={"poolclass": NullPool}))


def trials_in(url: str) -> list[FrozenTrial]:
    return study_in(url).get_trials()


def mirrored_at_once(url: str, spec: Spec, *records: Record) -> list[FrozenTrial]:
    """What is there after a session in which nothing more happened."""
    with mirrored(url, NAME, URI, spec, records, print):
        pass
    return trials_in(url)


def eventually(what: Callable[[], Any], seconds: float = 20) -> Any:
    """The first of its values that is true."""
    end = time.monotonic() + seconds
    while True:
        try:
            if (value := what()) or time.monotonic() > end:
                return value
        except (KeyError, sqlalchemy.exc.SQLAlchemyError):
            if time.monotonic() > end:
                raise
        time.sleep(0.05)


def searched(spec: Spec, seed: int) -> Experiment:
    """An experiment that the search could have proposed."""
    return space.suggest(optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed)).ask(), spec)


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
        assert (trial.params, trial.distributions) == space.told(experiment, spec)
        assert trial.params["decoder_lr"] == experiment.decoder_lr and trial.params["loss"] == experiment.loss
    assert len({frozenset(trial.params) for trial in trials}) > 1, "the search is conditional"


def test_a_baseline_outside_the_search_space_has_its_choices_as_attributes(
    url: str, make_record: Any, spec: Spec
) -> None:
    baselines = [(n, e) for n, e in space.baselines(spec) if space.told(e, spec) is None]
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
    spec = load_spec("isic", [f"objective.metric={metric}", f"objective.mode={mode}"])
    mirrored_at_once(url, spec, make_record(0, values=[0.5, 0.4], metric=metric, mode=mode))
    study = study_in(url)
    assert study.direction.name == direction and study.metric_names == [metric]
    assert study.user_attrs == {"uri": URI, "dataset": "isic2016", "objective": metric}
    assert study.best_value == (0.5 if mode == "max" else 0.4)


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


# Going on


def test_what_a_kill_left_running_ends(url: str, make_record: Any, spec: Spec) -> None:
    mirrored_at_once(url, spec, make_record(0), make_record(1, State.RUNNING, [0.1, 0.2]))
    records = [make_record(0), make_record(1, State.COMPLETE, [0.1, 0.2, 0.3]), make_record(2, State.RUNNING, [])]
    trials = mirrored_at_once(url, spec, *records)
    assert [t.state for t in trials] == [COMPLETE, COMPLETE, RUNNING]
    assert trials[1].intermediate_values == {1: 0.1, 2: 0.2, 3: 0.3} and trials[1].value == 0.3


def test_a_trial_that_goes_on_from_its_checkpoint_overwrites_its_later_epochs(
    url: str, mirror: Any, make_record: Any, notices: list[str]
) -> None:
    mirror(make_record(0, State.RUNNING, [0.1, 0.2, 0.3])).close()
    begun = mirror(make_record(0, State.RUNNING, [0.1]))
    begun.update(make_record(0, State.RUNNING, [0.1, 0.25]))
    begun.close()
    mirror(make_record(0, State.COMPLETE, [0.1, 0.25, 0.35])).close()
    (trial,) = trials_in(url)
    assert trial.state == COMPLETE and trial.intermediate_values == {1: 0.1, 2: 0.25, 3: 0.35} and not notices


def test_epochs_that_no_record_has_do_not_stay(url: str, make_record: Any, spec: Spec) -> None:
    """It went back to its checkpoint, then failed earlier than before."""
    mirrored_at_once(url, spec, make_record(0), make_record(1, State.RUNNING, [0.1, 0.2, 0.3]))
    trials = mirrored_at_once(url, spec, make_record(0), make_record(1, State.FAILED, [0.1]))
    assert [(t.state, t.intermediate_values) for t in trials] == [(COMPLETE, {1: 0.5}), (FAIL, {1: 0.1})]


def test_a_lost_database_is_written_again(url: str, make_record: Any, spec: Spec) -> None:
    records = [make_record(n, experiment=searched(spec, n)) for n in (2, 0, 1)]
    before = mirrored_at_once(url, spec, *records)
    optuna.delete_study(study_name=NAME, storage=url)
    again = mirrored_at_once(url, spec, *records)
    assert [(t.number, t.user_attrs, t.params, t.value) for t in again] == [
        (t.number, t.user_attrs, t.params, t.value) for t in before
    ]
    assert [t.user_attrs["id"] for t in again] == ["id0", "id1", "id2"]


def test_nothing_is_written_where_nothing_is_new(url: str, make_record: Any, spec: Spec, notices: list[str]) -> None:
    records = [make_record(0, experiment=searched(spec, 0)), make_record(1, State.PRUNED), make_record(2, State.FAILED)]
    before = mirrored_at_once(url, spec, *records)
    with mirrored(url, NAME, URI, spec, records, notices.append) as update:
        for record in records:
            update(record)
    assert trials_in(url) == before and not notices


@pytest.mark.parametrize("live", [False, True])
def test_a_trial_run_again_is_there_once(
    url: str, mirror: Any, make_record: Any, notices: list[str], live: bool
) -> None:
    """Optuna lets nothing be taken back from a trial that has ended."""
    failed = make_record(1, State.FAILED, [0.1, 0.2])
    begun = mirror(make_record(0), failed)
    if not live:
        begun.close()
        begun = mirror(make_record(0), make_record(1, State.RUNNING, []))
    begun.update(make_record(1, State.RUNNING, []))
    begun.update(make_record(1, State.COMPLETE, [0.6]))
    begun.close()
    assert [(t.state, t.value) for t in trials_in(url)] == [(COMPLETE, 0.5), (COMPLETE, 0.6)]
    assert all(t.user_attrs["trial"] == t.number for t in trials_in(url))


def test_a_trial_whose_record_was_lost_goes(url: str, make_record: Any, spec: Spec, notices: list[str]) -> None:
    mirrored_at_once(url, spec, make_record(0), make_record(1, State.RUNNING, [0.2]))
    with mirrored(url, NAME, URI, spec, [make_record(0)], notices.append):
        pass
    assert [t.user_attrs["trial"] for t in trials_in(url)] == [0]
    (notice,) = notices
    assert notice.endswith(": what it had of this study is written anew, from the records")


def test_what_two_processes_wrote_twice_is_there_once(url: str, mirror: Any, make_record: Any, spec: Spec) -> None:
    """One that was thought dead still writes; the other sees it at its end."""
    alive, other = mirror(make_record(0)), mirror(make_record(0))
    eventually(lambda: trials_in(url) and not alive._waiting and not other._waiting)
    alive.update(make_record(1, State.RUNNING, []))
    other.update(make_record(1, State.RUNNING, []))
    eventually(lambda: len(trials_in(url)) >= 2)
    alive.close()
    other.update(make_record(1, State.COMPLETE, [0.3]))
    other.close()
    assert [(t.user_attrs["trial"], t.state) for t in trials_in(url)] == [(0, COMPLETE), (1, COMPLETE)]


def test_a_study_deleted_in_the_dashboard_comes_back(url: str, mirror: Any, make_record: Any) -> None:
    begun = mirror(make_record(0))
    eventually(lambda: len(trials_in(url)) == 1 and not begun._waiting)
    optuna.delete_study(study_name=NAME, storage=url)
    begun.update(make_record(1))
    assert eventually(lambda: len(trials_in(url)) == 2)


def test_what_a_person_added_stays(url: str, make_record: Any, spec: Spec) -> None:
    mirrored_at_once(url, spec, make_record(0, State.FAILED, [0.1]))
    study_in(url).enqueue_trial({"decoder_lr": 1e-3})
    study_in(url).set_user_attr("ours", "a note")
    assert [t.state for t in mirrored_at_once(url, spec, make_record(0, State.FAILED, [0.1]))] == [
        FAIL,
        TrialState.WAITING,
    ]
    mirrored_at_once(url, spec, make_record(0, State.COMPLETE, [0.1]))
    assert [t.value for t in trials_in(url)] == [0.1]
    assert study_in(url).user_attrs["ours"] == "a note" and study_in(url).metric_names == ["val_iou"]


def test_two_studies_in_one_database(url: str, make_record: Any, spec: Spec) -> None:
    for name in ("first", "second"):
        with mirrored(url, name, f"s3://bucket/{name}", spec, [make_record(0)], print):
            pass
    assert [len(study_in(url, name).get_trials()) for name in ("first", "second")] == [1, 1]


KILLED = """
import sys
from study.optuna_mirror import OptunaMirror
from study.records import read_records
from study.spec import load_spec
from study.store import Store
store, url, name, uri = sys.argv[1:]
OptunaMirror(url, name, uri, load_spec("isic"), print).sync(read_records(Store(store)))
sys.stdin.read()
"""


@pytest.mark.slow
def test_killed_while_it_writes(url: str, make_record: Any, tmp_path: Path) -> None:
    spec = load_spec("isic")
    records = [make_record(n, values=[0.1, 0.2, 0.3, 0.4], experiment=searched(spec, n)) for n in range(40)]
    for record in records:
        write_record(Store(str(tmp_path / "store")), record)
    chance = random.Random(7)
    for wanted in sorted(chance.sample(range(1, 35), 2)):
        words = [sys.executable, "-c", KILLED, str(tmp_path / "store"), url, NAME, URI]
        with subprocess.Popen(words, stdin=subprocess.PIPE) as process:
            eventually(lambda wanted=wanted: len(trials_in(url)) >= wanted, 60)
            process.send_signal(signal.SIGKILL)
    trials = mirrored_at_once(url, spec, *records)
    assert [(t.number, t.user_attrs["id"], t.value) for t in trials] == [(n, f"id{n}", 0.4) for n in range(40)]


# A database that is gone


def test_an_outage_costs_nothing_and_loses_nothing(
    postgres_server: PostgresServer, spec: Spec, make_record: Any, notices: list[str]
) -> None:
    url = postgres_server.new_database()
    optuna_mirror.check(url, NAME, URI, spec, begun=False)
    mirror = OptunaMirror(url, NAME, URI, spec, notices.append)
    mirror.sync([make_record(0), make_record(1, State.RUNNING, [0.1])])
    assert eventually(lambda: len(trials_in(url)) == 2 and not mirror._waiting)
    postgres_server.stop()
    try:
        began = time.monotonic()
        for epochs in range(2, 102):
            mirror.update(make_record(1, State.RUNNING, [0.1] * epochs))
        mirror.update(make_record(1, State.PRUNED, [0.1] * 102))
        mirror.update(make_record(2, State.RUNNING, [0.3]))
        assert time.monotonic() - began < 0.5
        assert eventually(lambda: notices)
        time.sleep(2)
    finally:
        postgres_server.start()
    assert eventually(lambda: len(notices) == 2, 30), notices
    assert [t.state for t in trials_in(url)] == [COMPLETE, PRUNED, RUNNING]
    assert len(trials_in(url)[1].intermediate_values) == 102
    mirror.close()
    assert len(notices) == 2, notices
    assert "secret" not in "".join(notices)
    assert notices[0].startswith("--optuna-storage postgresql://tester:***@127.0.0.1:")
    assert notices[0].endswith("; the study goes on, its trials are sent later") and "\n" not in notices[0]
    assert "works again after" in notices[1]


def test_at_the_end_a_database_that_is_gone_is_not_waited_for(
    postgres_server: PostgresServer,
    spec: Spec,
    make_record: Any,
    notices: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(optuna_mirror, "CLOSE_SECONDS", 1.0)
    url = postgres_server.new_database()
    optuna_mirror.check(url, NAME, URI, spec, begun=False)
    mirror = OptunaMirror(url, NAME, URI, spec, notices.append)
    mirror.sync([make_record(0)])
    assert eventually(lambda: len(trials_in(url)) == 1)
    postgres_server.stop()
    try:
        mirror.update(make_record(1))
        began = time.monotonic()
        mirror.close()
        assert time.monotonic() - began < 3
        assert "the records have them, --resume with this flag delivers them" in notices[-1]
    finally:
        postgres_server.start()
    mirror._thread.join(30)


# optuna-dashboard


@pytest.fixture
def dashboard() -> Iterator[Callable[[str], str]]:
    """dashboard(url): the address of one that shows this database."""
    running: list[subprocess.Popen[bytes]] = []

    def start(url: str) -> str:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
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
