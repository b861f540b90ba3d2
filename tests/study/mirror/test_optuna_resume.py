"""The mirror over real databases: killed, lost, written by two, gone for a while."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
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
from postgres_server import PostgresServer

from study.mirror import optuna_mirror
from study.mirror.optuna_mirror import OptunaMirror, mirrored
from study.spec import Spec, load_spec
from study.store import Store
from study.store.records import State, write_record

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
from study.mirror.optuna_mirror import OptunaMirror
from study.store.records import read_records
from study.spec import load_spec
from study.store import Store
spec, store, url, name, uri = sys.argv[1:]
OptunaMirror(url, name, uri, load_spec(spec), print).sync(read_records(Store(store)))
sys.stdin.read()
"""


@pytest.mark.slow
def test_killed_while_it_writes(url: str, make_record: Any, tmp_path: Path) -> None:
    spec = load_spec(WITH_BASELINES)
    records = [make_record(n, values=[0.1, 0.2, 0.3, 0.4], experiment=searched(spec, n)) for n in range(40)]
    for record in records:
        write_record(Store(str(tmp_path / "store")), record)
    wanted = random.Random(url[:6]).randrange(1, 35)
    words = [sys.executable, "-c", KILLED, WITH_BASELINES, str(tmp_path / "store"), url, NAME, URI]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as process:
        assert eventually(lambda: len(trials_in(url)) >= wanted, 60)
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
