"""A database that cannot be used: one line that says which, why and what to do, and never the password."""

import re
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import optuna
import psycopg
import pytest
from postgres_server import PASSWORD, PostgresServer
from psycopg import sql
from sqlalchemy.engine import make_url

from study import run
from study.mirror import optuna_mirror
from study.mirror.database import OptunaStorageError, connect
from study.mirror.optuna_mirror import mirrored
from study.spec import Spec

FORMS = "give sqlite:///FILE.db or postgresql://USER:PASSWORD@HOST/DATABASE"


def refusal(url: str) -> str:
    with pytest.raises(OptunaStorageError) as refused:
        connect(url)
    message = str(refused.value)
    assert message.startswith("--optuna-storage ") and "\n" not in message and "sqlalche.me" not in message
    return message.removeprefix("--optuna-storage ")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("journal.log", "journal.log"),
        ("", ""),
        ("redis://h", "redis://h"),
        ("postgres://me:hidden@h/d", "postgres://me:***@h/d"),
        ("postgresql://me:hidden@h:port/d", "postgresql://me:***@h:port/d"),
    ],
)
def test_no_address_of_a_database(url: str, shown: str) -> None:
    assert refusal(url) == f"{shown}: is not the address of a database; {FORMS}"


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_a_database_that_nobody_else_sees(url: str) -> None:
    assert "lies in this process's memory, where no dashboard can see it; give sqlite:///FILE.db" in refusal(url)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    message = refusal(f"sqlite:///{tmp_path}/nowhere/study.db")
    assert message.endswith("(unable to open database file); check that its folder is there and may be written")


def test_a_file_that_is_something_else(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no database, but long enough to be looked at as one" * 40)
    assert refusal(f"sqlite:///{tmp_path}/notes.txt").endswith("(file is not a database); give another file")


@pytest.mark.parametrize("driver", ["asyncpg", "pg8000"])
def test_a_driver_that_is_not_installed(driver: str) -> None:
    message = refusal(f"postgresql+{driver}://me:hidden@h/d")
    advice = "write postgresql://, and pip install 'segstudy[dashboard]'"
    assert message == f"postgresql+{driver}://me:***@h/d: its driver {driver} is not installed; {advice}"


def test_an_at_sign_in_the_password() -> None:
    message = refusal("postgresql://me:hid@den@h/d")
    assert message == "postgresql://me:***@h/d: has two @; write an @ in the password as %40, a / as %2F"


def test_a_database_of_another_version(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    connect(f"sqlite:///{path}").engine.dispose()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v2.4.0.a'")
    connection.close()
    assert "Please execute `$ optuna storage upgrade" in refusal(f"sqlite:///{path}")


def test_a_wrong_password(postgres_server: PostgresServer) -> None:
    message = refusal(postgres_server.url(password="hidden-and-wrong"))
    assert "hidden" not in message and "***@127.0.0.1" in message
    assert 'password authentication failed for user "tester"' in message
    assert message.endswith("; check user and password, or leave the password out and set PGPASSWORD")


def test_the_password_from_the_environment(postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    without = postgres_server.new_database().replace(f":{PASSWORD}@", "@")
    assert "no password supplied" in refusal(without)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    connect(without).engine.dispose()


def test_no_such_database(postgres_server: PostgresServer) -> None:
    assert refusal(postgres_server.url(database="nowhere")).endswith(
        'database "nowhere" does not exist); create it first'
    )


def test_a_user_who_may_not_make_tables(postgres_server: PostgresServer) -> None:
    """As a user other than the owner since PostgreSQL 15."""
    url = postgres_server.new_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP ROLE IF EXISTS guest"))
        connection.execute(sql.SQL("CREATE ROLE guest LOGIN PASSWORD 'hidden-too'"))
    message = refusal(make_url(url).set(username="guest", password="hidden-too").render_as_string(hide_password=False))
    assert "permission denied for schema public" in message and "hidden" not in message
    assert message.endswith("give a database in which this user may make tables")


@pytest.mark.parametrize("brace", ["{", "}", "{0}"])
def test_a_brace_in_the_password_is_no_template(brace: str) -> None:
    message = refusal(f"postgresql://me:hid{brace}den@127.0.0.1:1/d")
    assert "Connection refused" in message and message.endswith("check that it runs, and the address")


def test_two_that_make_the_tables_at_once(postgres_server: PostgresServer, tmp_path: Path) -> None:
    for url in (postgres_server.new_database(), f"sqlite:///{tmp_path}/study.db"):
        with ThreadPoolExecutor(2) as pool:
            for storage in pool.map(connect, [url, url]):
                assert storage.get_all_studies() == []
                storage.engine.dispose()


# The name


def test_a_study_of_another_place(tmp_path: Path, spec: Spec) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    with mirrored(url, "first", "s3://bucket/first", spec, [], print):
        pass
    with pytest.raises(OptunaStorageError) as refused:
        optuna_mirror.check(url, "first", "s3://other/first", spec, begun=True)
    problem = "has a study 'first' of s3://bucket/first; take another --name or another database"
    assert str(refused.value) == f"--optuna-storage {url}: {problem}"
    optuna_mirror.check(url, "second", "s3://other/second", spec, begun=False)


def test_a_study_that_somebody_made_by_hand(tmp_path: Path, spec: Spec) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    optuna.create_study(storage=url, study_name="first").add_trial(optuna.trial.create_trial(value=1.0))
    with pytest.raises(OptunaStorageError, match="has a study 'first' of somebody else; take another --name"):
        optuna_mirror.check(url, "first", "s3://bucket/first", spec, begun=True)


def test_a_study_that_was_deleted_from_the_store_is_not_overwritten(
    tmp_path: Path, spec: Spec, make_record: object
) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    with mirrored(url, "first", "s3://bucket/first", spec, [make_record(0)], print):  # type: ignore[operator]
        pass
    with pytest.raises(OptunaStorageError, match="has the trials of an earlier study 'first'; take another --name"):
        optuna_mirror.check(url, "first", "s3://bucket/first", spec, begun=False)
    optuna_mirror.check(url, "first", "s3://bucket/first", spec, begun=True)


# The command


def test_the_command_refuses_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["phantom", "--name", "first", "--optuna-storage", "postgresql://me:hidden@127.0.0.1:1/d"]
    assert run.main(words) == 2
    out, err = capsys.readouterr()
    assert out == "" and re.fullmatch(r"error: --optuna-storage postgresql://me:\*\*\*@127.0.0.1:1/d: .*\n", err)
    assert not (tmp_path / "studies").exists()
