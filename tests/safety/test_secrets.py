"""No password, key or signature in what a study writes, prints or complains of."""

import json
import sys
from pathlib import Path

import pytest
from readers import READERS

from seg import pack
from study import run
from study.driver import session, start
from study.driver.plan import Plan
from study.driver.preparation import Prepared
from study.lanes.resources import Allotment, Cluster, Machine
from study.spec import load_spec
from study.store import Store, StoreError
from study.store.records import State, read_records, write_record

PASSWORD, KEY, SIGNATURE = "hush+hush/hush", "very/Secret+Key0123456789", "5ca1ab1e5ca1ab1e"
PLANTED = f"https://me:{PASSWORD}@host/x?X-Amz-Signature={SIGNATURE} with {KEY}"


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY)


def leaks(text: str) -> list[str]:
    return [secret for secret in (PASSWORD, KEY, SIGNATURE) if secret in text]


def test_no_secret_in_a_record(study: Path, key: None) -> None:
    store = Store(str(study))
    (record, *_) = read_records(store)
    record.state, record.reason, record.traceback = State.FAILED, PLANTED, f"Traceback\n{PLANTED}"
    record.extra |= {"attempts": [{"reason": PLANTED, "traceback": PLANTED, "epochs": []}]}
    write_record(store, record)
    text = (study / "trials/00000/record.json").read_text()
    assert leaks(text) == [] and text.count("https://me:***@host/x?X-Amz-Signature=*** with ***") == 4


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    from seg import data

    whole = data.load("phantom", Path("nowhere"))
    few = data.Dataset(whole.name, whole.samples[:10], whole.class_names, whole.remark, whole.synthetic)
    packed = pack.build(few, 32, tmp_path_factory.mktemp("packs"), progress=False)
    places = Path(f"/mnt/token={SIGNATURE}"), Path(f"s3://me:{PASSWORD}@weights")
    return Prepared(*places, packed, Cluster((Machine(2, 0),)), Allotment(1, 1, 0.0, 2))


def test_no_secret_in_study_json(
    tmp_path: Path, prepared: Prepared, key: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--storage", f"s3://me:{PASSWORD}@b", f"--optuna-storage=postgresql://me:{PASSWORD}@h/d", "--set", KEY]
    monkeypatch.setattr(sys, "argv", ["run", "phantom", *words])
    store = Store(str(tmp_path / "study"))
    session.begin(Plan("study", load_spec("phantom"), store, start._typed(start.Command()), prepared), store)
    study = store.read_json("study.json")
    assert leaks(json.dumps(study)) == []
    assert study["command"] == (
        "python -m study.run phantom --storage 's3://me:***@b' '--optuna-storage=postgresql://me:***@h/d' --set '***'"
    )
    assert study["places"] == {"data": "/mnt/token=***", "weights": "s3:/me:***@weights"}


@pytest.mark.parametrize("command", READERS)
def test_no_secret_leaves_a_study_that_holds_some(
    study: Path, tmp_path: Path, key: None, capfd: pytest.CaptureFixture[str], command: str
) -> None:
    """An earlier version's records hold what errors said, word for word."""
    for path in study.rglob("record.json"):
        record = json.loads(path.read_text())
        failed = {"state": "FAILED", "reason": PLANTED, "traceback": PLANTED} if record["trial"] == 3 else {}
        path.write_text(json.dumps(record | failed))
    info = json.loads((study / "study.json").read_text())
    (study / "study.json").write_text(json.dumps(info | {"command": f"python -m study.run {PLANTED}"}))
    READERS[command](str(study), tmp_path)
    printed = capfd.readouterr()
    assert leaks(printed.out + printed.err) == []
    written = [path for path in tmp_path.rglob("*") if path.is_file() and study not in path.parents]
    assert [path for path in written if leaks(path.read_bytes().decode("latin-1"))] == []


@pytest.mark.parametrize("command", READERS)
def test_no_secret_in_an_error(
    tmp_path: Path, key: None, capsys: pytest.CaptureFixture[str], command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address of no study, with a password and a key in it."""
    monkeypatch.chdir(tmp_path)
    for address in (f"file:///nowhere/token={SIGNATURE}/{KEY}", f"nosuch://me:{PASSWORD}@host/{KEY}"):
        assert READERS[command](address, tmp_path) == 2
        error = capsys.readouterr().err
        assert leaks(error) == [] and error.startswith("error: ") and error.count("\n") == 1


def status_of(arguments: list[str]) -> object:
    try:
        return run.main(arguments)
    except SystemExit as ended:
        return ended.code


def test_no_secret_in_study_runs_errors(tmp_path: Path, key: None, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = [
        ["phantom", "--storage", f"nosuch://me:{PASSWORD}@host"],
        ["phantom", "--storage", f"x://me:{PASSWORD}@host"],
        ["phantom", "--resume", "--name", "a", "--storage", f"file:///nowhere/{KEY}"],
        ["phantom", "--name", f"token={SIGNATURE}/{KEY}"],
        ["phantom", "--set", f"token={SIGNATURE}"],
        [f"https://me:{PASSWORD}@host/spec.yaml"],
        ["phantom", f"--optuna-storage=x://me:{PASSWORD}@host/{KEY}", "--storage", str(tmp_path)],
        ["phantom", f"https://me:{PASSWORD}@host"],
    ]
    for arguments in wrong:
        assert status_of(arguments) == 2
        error = capsys.readouterr().err
        assert leaks(error) == [] and error.startswith("error: ") and error.count("\n") == 1, arguments


def test_no_secret_in_the_line_that_resumes(key: None) -> None:
    given = run.parser().parse_args(["phantom", "--storage", f"s3://me:{PASSWORD}@b", "--weights", KEY])
    assert leaks(start._resume_line(given, "name")) == []


def test_no_secret_in_what_a_store_says(tmp_path: Path, key: None) -> None:
    said: list[str] = []
    store = Store(f"{tmp_path}/token={SIGNATURE}/{KEY}", 2.0, said.append)
    store._in_trouble(OSError(f"no route to s3://me:{PASSWORD}@host with {KEY}"), 1)
    store._out_of_trouble(1.0)
    with pytest.raises(StoreError) as caught, store.reached():
        raise OSError(f"no route to s3://me:{PASSWORD}@host with {KEY}")
    assert len(said) == 2 and leaks(f"{caught.value} {said}") == []
