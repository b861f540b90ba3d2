"""The live report of a running study in a browser; it is rebuilt while records come in.

python -m analysis.serve STUDY [STUDY ...] [--port N]

Only this machine can open it. From another machine: `ssh -L 8500:localhost:8500 THAT_MACHINE`, then the same address.
"""

import argparse
import contextlib
import hashlib
import sys
import threading
import time
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from analysis import load
from analysis.report import page
from seg.cli import STUDY_HELP, ArgumentParser, UserError, complain, redact, status_of

HOST = "127.0.0.1"
PORT = 8500
PAUSE_SECONDS = 5.0
"""The minimum seconds between two checks of the records."""
SHARE = 4
"""How many times longer the pause is than a check that takes long: studies need the machine too."""


class Page:
    """The newest report that could be built, and what has gone wrong since."""

    def __init__(self, studies: Sequence[str]):
        self._studies = studies
        self._lock = threading.Lock()
        self.content, self.version, self.trouble = b"", "", ""
        self._state = ""

    def renew(self) -> None:
        """Rebuild the page if the records have changed.

        Raises UserError if a study cannot be read; the page then stays as it was.
        """
        opened = [load.open_study(study) for study in self._studies]
        state = repr([(study.info["finished"], study.records) for study in opened])
        if state == self._state:
            return
        version = hashlib.sha256(state.encode()).hexdigest()[:16]
        content = page.build(opened, live=version).encode()
        with self._lock:
            self.content, self.version, self._state = content, version, state

    def read(self) -> tuple[bytes, str]:
        with self._lock:
            return self.content, self.version

    def keep_renewing(self) -> None:
        """Renew the page forever, in a thread of its own; what cannot be read now may be readable later."""
        while True:
            began = time.monotonic()
            try:
                self.renew()
                self.trouble = ""
            except UserError as error:
                if self.trouble != str(error):
                    complain(error)
                self.trouble = str(error)
            time.sleep(max(PAUSE_SECONDS, SHARE * (time.monotonic() - began)))


def handler(page: Page) -> type[BaseHTTPRequestHandler]:
    """Return a handler that serves the report at `/`, and at `/version` a word that changes with it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content, version = page.read()
            host = self.headers.get("Host", "").rpartition(":")[0]
            if host not in (HOST, "localhost"):  # a page from elsewhere whose host name resolves to this machine
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
            with contextlib.suppress(ConnectionError):  # the browser has closed the connection
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Write nothing: the terminal is for what went wrong."""

    return Handler


def parser() -> ArgumentParser:
    p = ArgumentParser("analysis.serve", "Show the report of a running study in a browser, live.", "studies/first")
    p.add_argument("studies", nargs="+", metavar="STUDY", help=STUDY_HELP)
    p.add_argument("--port", type=int, default=PORT, metavar="N", help="of localhost (default: %(default)s, if free)")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    return status_of(lambda: _serve(given))


def _serve(given: argparse.Namespace) -> int:
    page = Page(given.studies)
    page.renew()
    try:
        server = _listen(given.port, page)
    except (OSError, OverflowError) as error:
        where = f"--port {given.port}: cannot be listened on"
        raise UserError(f"{where} ({error}); give another, from 1024 to 65535") from error
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
    """Listen on the port, or on any free one if the default port is taken."""
    try:
        return ThreadingHTTPServer((HOST, port), handler(page))
    except OSError:
        if port != PORT:
            raise
        return ThreadingHTTPServer((HOST, 0), handler(page))


if __name__ == "__main__":
    sys.exit(main())
