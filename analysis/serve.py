"""The report of a study that is running, live in a browser: it is made anew while records come in.

python -m analysis.serve STUDY [STUDY ...] [--port N]

Only this machine can open it. From another one: `ssh -L 8500:localhost:8500 THAT_MACHINE`, then the same address.
"""

import contextlib
import hashlib
import sys
import threading
import time
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from analysis import load, report
from analysis.sealed import NotComparable
from study.arguments import ArgumentParser
from study.redact import complain, redact
from study.store import FAILURES, StoreError

HOST = "127.0.0.1"
PORT = 8500
PAUSE_SECONDS = 5.0
"""Between two looks at the records, at least."""
UNREADABLE: tuple[type[Exception], ...] = (load.StudyNotFound, NotComparable, StoreError, *FAILURES)
SHARE = 4
"""A look that takes long is followed by a pause that is as many times longer: studies need the machine too."""


class Page:
    """The newest report that could be made, and what was wrong since."""

    def __init__(self, studies: Sequence[str]):
        self._studies = studies
        self._lock = threading.Lock()
        self.content, self.version, self.trouble = b"", "", ""
        self._told = ""

    def renew(self) -> None:
        """StudyNotFound or StoreError where a study cannot be read; the page stays what it was."""
        opened = [load.open_study(study) for study in self._studies]
        told = repr([(study.info["finished"], study.records) for study in opened])
        if told == self._told:
            return
        version = hashlib.sha256(told.encode()).hexdigest()[:16]
        content = report.build(opened, live=version).encode()
        with self._lock:
            self.content, self.version, self._told = content, version, told

    def read(self) -> tuple[bytes, str]:
        with self._lock:
            return self.content, self.version

    def keep_renewing(self) -> None:
        """For ever; in a thread of its own. What cannot be read now may be so later."""
        while True:
            began = time.monotonic()
            try:
                self.renew()
                self.trouble = ""
            except UNREADABLE as error:
                if self.trouble != str(error):
                    complain(error)
                self.trouble = str(error)
            time.sleep(max(PAUSE_SECONDS, SHARE * (time.monotonic() - began)))


def handler(page: Page) -> type[BaseHTTPRequestHandler]:
    """`/` is the report, `/version` a word that changes with it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content, version = page.read()
            host = self.headers.get("Host", "").rpartition(":")[0]
            if host not in (HOST, "localhost"):  # a page from elsewhere whose name leads here
                self._answer(HTTPStatus.FORBIDDEN, b"only as localhost", "text/plain")
            elif self.path == "/":
                self._answer(HTTPStatus.OK, content, "text/html; charset=utf-8")
            elif self.path == "/version":
                self._answer(HTTPStatus.OK, version.encode(), "text/plain")
            else:
                self._answer(HTTPStatus.NOT_FOUND, b"not here", "text/plain")

        def _answer(self, status: HTTPStatus, content: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # the browser asked for something else meanwhile
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing: the terminal is for what went wrong."""

    return Handler


def parser() -> ArgumentParser:
    p = ArgumentParser(
        prog="python -m analysis.serve", description="The report of a running study, live, on this machine."
    )
    p.add_argument("studies", nargs="+", metavar="STUDY", help="<storage>/<name>, a folder or s3://...")
    p.add_argument("--port", type=int, default=PORT, metavar="N", help=f"default: {PORT}, or any that is free")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    page = Page(given.studies)
    try:
        page.renew()
    except UNREADABLE as error:
        complain(error)
        return 2
    try:
        server = _listen(given.port, page)
    except (OSError, OverflowError) as error:
        complain(f"--port {given.port}: cannot be listened on ({error}); give another, from 1024 to 65535")
        return 2
    threading.Thread(target=page.keep_renewing, daemon=True).start()
    print(
        redact(f"report of {', '.join(given.studies)}: http://localhost:{server.server_port}  (Ctrl-C ends it)"),
        flush=True,
    )
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print()
    finally:
        server.server_close()
    return 0


def _listen(port: int, page: Page) -> ThreadingHTTPServer:
    """On the port, or on any other where it is taken and was not asked for."""
    try:
        return ThreadingHTTPServer((HOST, port), handler(page))
    except OSError:
        if port != PORT:
            raise
        return ThreadingHTTPServer((HOST, 0), handler(page))


if __name__ == "__main__":
    sys.exit(main())
