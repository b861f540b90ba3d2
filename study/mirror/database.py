"""The connection to the database of --optuna-storage, and its errors in one line without the password."""

from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from seg.errors import UserError, redact
from study.store.retries import patiently

FORMS = "give sqlite:///FILE.db or postgresql://USER:PASSWORD@HOST/DATABASE"
LIBPQ = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
"""libpq's limits by which a host that is gone is noticed.

They are seconds, except `keepalives_count`, a number of probes, and `tcp_user_timeout`, milliseconds.
"""
PATIENCE = {"psycopg": LIBPQ, "psycopg2": LIBPQ, "pysqlite": {"timeout": 10}}
"""The time limits that each database driver is given."""
REMEDIES = {
    "password authentication failed": "check user and password, or leave the password out and set PGPASSWORD",
    "no password supplied": "give USER:PASSWORD, or set PGPASSWORD",
    "permission denied": "give a database in which this user may make tables",
    "does not exist": "create it first",
    "unable to open database file": "check that its folder is there and may be written",
    "readonly database": "check the file's permissions",
    "is not a database": "give another file",
    "is locked": "end whatever else writes to it",
    "bytes-like object": "make the database with the encoding UTF8",
    "upgrade": "",
}
"""What to do, by a part of the database's own error message."""


class OptunaStorageError(UserError):
    """A database that cannot be used. The message says in one line which database, why, and what to do."""


def connect(url: str) -> RDBStorage:
    """Connect to the database, and create Optuna's tables if there are none.

    Raises OptunaStorageError if the database cannot be used.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    place = _parsed(url)
    try:
        return patiently(
            lambda: _open(url, place), _made_meanwhile, 10, lambda error, count: None, lambda seconds: None
        )
    except ImportError as error:
        driver = getattr(error.__cause__, "name", None) or place.drivername
        advice = (
            "write postgresql://, and pip install 'segstudy[dashboard]'"
            if place.get_backend_name() == "postgresql"
            else FORMS
        )
        raise refusal(url, f"its driver {driver} is not installed", advice) from error
    except (SQLAlchemyError, StorageInternalError, RuntimeError, TypeError, OSError) as error:
        raise unusable(url, error) from error


def _open(url: str, place: URL) -> RDBStorage:
    # Optuna calls str.format on the URL, so braces are doubled; a password may have some.
    address = url.replace("{", "{{").replace("}", "}}")
    return RDBStorage(address, engine_kwargs={"pool_pre_ping": True, "connect_args": _patience(place)})


def _made_meanwhile(error: Exception) -> bool:
    """Whether another process made the same tables at the same moment; a second try finds them."""
    return any(words in str(error) for words in ("duplicate key", "already exists", "UNIQUE constraint"))


def _parsed(url: str) -> URL:
    """Return the parsed URL. Raises OptunaStorageError if it is not the address of a database that can be shared."""
    try:
        place = make_url(url)
        place.get_dialect()
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise refusal(url, "is not the address of a database", FORMS) from error
    if "@" in (place.host or ""):
        raise refusal(url, "has two @", "write an @ in the password as %40, a / as %2F")
    if place.get_backend_name() == "sqlite" and place.database in (None, "", ":memory:"):
        raise refusal(url, "lies in this process's memory, where no dashboard can see it", "give sqlite:///FILE.db")
    return place


def _patience(place: URL) -> dict[str, Any]:
    wanted = PATIENCE.get(place.get_driver_name(), {})
    return {name: value for name, value in wanted.items() if name not in place.query}


def unusable(url: str, error: Exception) -> OptunaStorageError:
    said = reason(error)
    remedy = next(
        (remedy for words, remedy in REMEDIES.items() if words in said), "check that it runs, and the address"
    )
    return refusal(url, f"cannot be used ({said})", remedy)


def reason(error: Exception) -> str:
    """Return the database's own error message in one line. It never contains a password."""
    while isinstance(error, StorageInternalError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return " ".join(str(getattr(error, "orig", None) or error).split()) or type(error).__name__


def refusal(url: str, problem: str, remedy: str) -> OptunaStorageError:
    return OptunaStorageError("; ".join(filter(None, [f"--optuna-storage {redact(url)}: {problem}", remedy])))
