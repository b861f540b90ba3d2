"""Figures as PNG and SVG files, drawn by an installed Chrome or Chromium with the report's own plotly.js.

The browser opens a page that this process serves only on this machine. The page sends back the figures it has drawn.
kaleido 1.5 does not replace this: it cannot start Debian's Chromium as root.
"""

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from plotly.offline import get_plotlyjs

from seg.cli import UserError

HOST = "127.0.0.1"
VARIABLE = "BROWSER_PATH"
BROWSERS = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge"),
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
FLAGS = """
    --headless --disable-gpu --hide-scrollbars --no-first-run --no-default-browser-check --disable-sync
    --disable-background-networking --disable-component-update --remote-debugging-port=0
"""
FORMATS = {"svg": 1, "png": 2}
"""The file formats, each with its number of file pixels per page pixel."""
START_SECONDS = 60.0
FIGURE_SECONDS = 20.0
"""Time limits in seconds: START_SECONDS for the browser to start, FIGURE_SECONDS for each figure."""

PAGE = """<!doctype html><meta charset="utf-8"><script src="plotly.js"></script><script>
const send = (name, body) => fetch(name, { method: "POST", body });
(async () => {
  const { figures, formats } = await (await fetch("figures.json")).json();
  for (const [name, { json, width }] of Object.entries(figures)) {
    const { data, layout } = JSON.parse(json);
    Object.assign(layout, { paper_bgcolor: "#ffffff", plot_bgcolor: "#ffffff" });
    for (const [format, scale] of Object.entries(formats)) {
      const drawn = await Plotly.toImage({ data, layout }, { format, scale, width, height: layout.height ?? 400 });
      await send(`${name}.${format}`, await (await fetch(drawn)).blob());
    }
  }
  await send("done", "");
})().catch(error => send("done", String(error)));
</script>"""


class DrawingError(UserError):
    """The error for figures that cannot be drawn. Its message is one line: what, where, what to do."""


@dataclass(frozen=True)
class Drawing:
    json: str
    """A Plotly figure as JSON."""
    width: int
    """The width in page pixels."""


def find_browser() -> str:
    """Return the path of a browser. Raises DrawingError if there is none."""
    named = os.environ.get(VARIABLE)
    for name in [named] if named else BROWSERS:
        if path := shutil.which(name):
            return path
    where = f"{VARIABLE} names {named}, which is no program" if named else "no Chrome or Chromium is installed here"
    raise DrawingError(f"--figures: {where}; apt-get install chromium, or name a browser in {VARIABLE}")


def save(drawings: Mapping[str, Drawing], folder: Path, formats: Sequence[str] = tuple(FORMATS)) -> list[Path]:
    """Write `<name>.svg` and `<name>.png` of each drawing into `folder`, and return the paths.

    The folder is created if it is missing. Raises DrawingError if no browser draws the figures or a file cannot be
    written, and OSError if the folder cannot be created.
    """
    browser = find_browser()
    folder.mkdir(parents=True, exist_ok=True)
    desk = _Desk(drawings, folder, formats)
    with _served(desk) as address, _opened(browser, address) as process:
        end = time.monotonic() + START_SECONDS + FIGURE_SECONDS * len(drawings)
        while not desk.done.wait(0.1):
            if process.poll() is not None or time.monotonic() > end:
                raise DrawingError(f"--figures: {browser} does not draw; name another browser in {VARIABLE}")
    if desk.trouble:
        raise DrawingError(f"--figures: {desk.trouble}")
    return [folder / name for name in desk.expected]


@dataclass
class _Desk:
    """The exchange with the browser, which fetches figures here and returns the drawn files."""

    drawings: Mapping[str, Drawing]
    folder: Path
    formats: Sequence[str] = tuple(FORMATS)
    done: threading.Event = field(default_factory=threading.Event)
    trouble: str = ""

    @property
    def expected(self) -> list[str]:
        return [f"{name}.{ending}" for name in self.drawings for ending in self.formats]

    def pages(self) -> dict[str, tuple[str, bytes]]:
        """Return the type and content of each page that the browser may request, by name."""
        figures = {name: {"json": one.json, "width": one.width} for name, one in self.drawings.items()}
        asked = json.dumps({"figures": figures, "formats": {one: FORMATS[one] for one in self.formats}})
        return {
            "": ("text/html", PAGE.encode()),
            "plotly.js": ("text/javascript", get_plotlyjs().encode()),
            "figures.json": ("application/json", asked.encode()),
        }

    def take(self, name: str, content: bytes) -> None:
        if name == "done":
            self.trouble = " ".join(content.decode(errors="replace").split())
            self.done.set()
        elif name in self.expected:
            try:
                (self.folder / name).write_bytes(content)
            except OSError as error:
                self.trouble = f"{self.folder / name}: cannot be written ({error.strerror})"
                self.done.set()


@contextlib.contextmanager
def _served(desk: _Desk) -> Iterator[str]:
    """Serve the page and yield its address.

    A secret word in the address, given only to the browser, keeps out other users of this machine.
    """
    word, pages = secrets.token_urlsafe(16), desk.pages()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self._name()
            self._answer(None if name is None else pages.get(name))

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if (name := self._name()) is not None:
                desk.take(name, content)
            self._answer(None if name is None else ("text/plain", b""))

        def _name(self) -> str | None:
            """Return the requested name below the secret word, or None if the word is wrong."""
            _, found, name = self.path.split("/", 2) if self.path.count("/") > 1 else ("", "", "")
            return name if secrets.compare_digest(found.encode(), word.encode()) else None

        def _answer(self, page: tuple[str, bytes] | None) -> None:
            kind, content = page or ("text/plain", b"")
            self.send_response(HTTPStatus.OK if page else HTTPStatus.NOT_FOUND)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{HOST}:{server.server_port}/{word}/"
        server.shutdown()


@contextlib.contextmanager
def _opened(browser: str, address: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the browser on the page with its own profile, and kill it when the caller is done."""
    root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []  # root cannot start it otherwise
    with tempfile.TemporaryDirectory(prefix="figures-", ignore_cleanup_errors=True) as profile:
        command = [browser, *FLAGS.split(), *root, f"--user-data-dir={profile}", address]
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(command, start_new_session=True, stdout=quiet, stderr=quiet)
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # and its child processes, some of which draw
            process.wait()
