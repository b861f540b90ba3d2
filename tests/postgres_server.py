"""A real PostgreSQL server on the loopback for tests, from Debian's package postgresql."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

import psycopg
from psycopg import sql
from s3_server import free_port

USER, PASSWORD, DATABASE = "tester", "secret-of-the-tests", "postgres"
SETTINGS = {"fsync": "off", "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "log_min_messages": "fatal"}


class PostgresServer:
    """A cluster of its own, which outlives a stop and a start; `remove` ends it. PostgreSQL refuses to run as root, so
    there it runs as Debian's user postgres, and its folder lies where that user may go."""

    def __init__(self) -> None:
        self._owner = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self._folder = Path(tempfile.mkdtemp(prefix="segstudy-postgres-"))
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        (self._folder / "password").write_text(PASSWORD)
        for path in (self._folder, self._folder / "password"):
            shutil.chown(path, self._owner)
        ways = ["--auth=scram-sha-256", f"--pwfile={self._folder / 'password'}", "--no-locale", "--encoding=UTF8"]
        made = self._popen("initdb", f"--pgdata={self._folder / 'data'}", f"--username={USER}", "--no-sync", *ways)
        if made.wait(60):
            raise RuntimeError(f"initdb failed: {self._log()}")

    def url(self, password: str = PASSWORD, database: str = DATABASE) -> str:
        return f"postgresql://{USER}:{password}@127.0.0.1:{self._port}/{database}"

    def new_database(self) -> str:
        """The address of an empty one."""
        name = f"d{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url(database=name)

    def start(self) -> None:
        """Returns when it answers."""
        settings = [f"--{name.replace('_', '-')}={value}" for name, value in SETTINGS.items()]
        self._process = self._popen("postgres", "-D", str(self._folder / "data"), "-p", str(self._port), *settings)
        ready = [str(_program("pg_isready")), "--quiet", "--host=127.0.0.1", f"--port={self._port}", "--timeout=1"]
        for _ in range(300):
            if subprocess.run(ready, check=False).returncode == 0:
                return
            if self._process.poll() is not None:
                break
            # pg_isready answers at once where nothing listens yet
            time.sleep(0.1)
        raise RuntimeError(f"the PostgreSQL server did not start: {self._log()}")

    def stop(self) -> None:
        """Ends every connection; returns when its process has ended. What was committed stays."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(60)
            self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _popen(self, name: str, *arguments: str) -> "subprocess.Popen[bytes]":
        user = self._owner if os.geteuid() == 0 else None
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                [str(_program(name)), *arguments], stdout=log, stderr=log, cwd=self._folder, user=user, group=user
            )

    def _log(self) -> str:
        return (self._folder / "log").read_text()[-2000:]


def installed() -> bool:
    return _program("initdb").exists()


def _program(name: str) -> Path:
    """Debian keeps the server's programs out of PATH, in a folder a version."""
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    return versions[-1] if versions else Path(shutil.which(name) or f"/nowhere/{name}")
