"""The report in headless Chromium: it draws, complains of nothing and asks no network for anything."""

import base64
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import bench_report
import pytest
from debian import not_installed
from generated import written

from analysis import report, serve
from study.store import Store

CHROMIUM = shutil.which("chromium")
FLAGS = """
    --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync --disable-default-apps --virtual-time-budget=8000
    --enable-logging=stderr --v=0 --window-size=1280,1000 --dump-dom
"""
TELL = """<script>addEventListener("load", () => setTimeout(() => {
  const plots = [...document.querySelectorAll(".plot")];
  const told = {
    drawn: plots.filter(plot => plot.querySelector("svg .trace, svg .barlayer .point, svg .heatmaplayer image")).length,
    plots: plots.length,
    wider: document.documentElement.scrollWidth > innerWidth,
    overflowing: plots.filter(plot => plot.querySelector("svg.main-svg").clientWidth > plot.clientWidth).length,
  };
  document.body.textContent = "told:" + btoa(JSON.stringify(told)) + ":told";
}, 1500))</script>"""

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason=not_installed("chromium")),
]

CLICK = """<script>addEventListener("load", () => setTimeout(() => {
  const plot = document.getElementById("plot-1-history");
  const box = plot.querySelector(".scatterlayer .trace:last-child .points path").getBoundingClientRect();
  const at = { clientX: box.x + box.width / 2, clientY: box.y + box.height / 2, bubbles: true, view: window };
  for (const event of ["mousemove", "mousedown", "mouseup"])
    plot.querySelector(".nsewdrag").dispatchEvent(new MouseEvent(event, at));
  setTimeout(() => {
    const dialog = document.getElementById("trial");
    const told = { open: dialog.open, text: dialog.innerText };
    document.body.textContent = "told:" + btoa(unescape(encodeURIComponent(JSON.stringify(told)))) + ":told";
  }, 600);
}, 1500))</script>"""
"""As a person would: to the best trial's point in the first figure, and a click."""
PRINT = """<script>addEventListener("load", () => setTimeout(() => {
  const widths = () => [...document.querySelectorAll(".plot svg.main-svg:first-child")].map(svg => svg.clientWidth);
  const told = { widths: [widths()] };
  dispatchEvent(new Event("beforeprint"));
  told.widths.push(widths());
  dispatchEvent(new Event("afterprint"));
  setTimeout(() => {
    told.widths.push(widths());
    document.body.textContent = "told:" + btoa(JSON.stringify(told)) + ":told";
  }, 1000);
}, 1500))</script>"""
"""Widths of the figures on the screen, as soon as the browser is about to print, and once it has."""


def look(html: str, folder: Path, script: str = TELL) -> dict[str, Any]:
    """What a page drew, what it wrote to the console, and which addresses it asked for, by the browser's own log."""
    page, log = folder / "page.html", folder / "net.json"
    page.write_text(html.replace("</body>", f"{script}</body>"))
    alone = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    places = [alone, f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}", f"file://{page}"]
    done = subprocess.run([str(CHROMIUM), *FLAGS.split(), *places], capture_output=True, text=True, timeout=120)
    told = re.search("told:([A-Za-z0-9+/=]+):told", done.stdout)
    assert told, done.stderr[-2000:]
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return {**json.loads(base64.b64decode(told[1])), "console": console, "asked": asked(log.read_text())}


def asked(net_log: str) -> list[str]:
    """Addresses of every network request that a page began; the browser's own housekeeping has no origin."""
    begun = [event.get("params", {}) for event in json.loads(net_log)["events"]]
    pages = [params for params in begun if params.get("initiator", "not an origin") != "not an origin"]
    return sorted({params["url"] for params in pages if not params["url"].startswith(("file:", "data:", "blob:"))})


def test_it_draws_everything_without_error_or_request(study: Path, tmp_path: Path) -> None:
    seen = look(Path(report.write_report([str(study)])).read_text(), tmp_path)
    assert seen["console"] == [] and seen["asked"] == []
    assert seen["drawn"] == seen["plots"] == 9
    assert not seen["wider"] and seen["overflowing"] == 0


def test_a_study_of_several_classes_is_drawn_too(pets: Path, tmp_path: Path) -> None:
    seen = look(Path(report.write_report([str(pets)])).read_text(), tmp_path)
    assert seen["console"] == [] and seen["asked"] == []
    assert seen["drawn"] == seen["plots"] == 10
    assert not seen["wider"]


def test_choices_taken_two_by_two_and_seeds_are_drawn_too(tmp_path: Path) -> None:
    """Sixty trials of a search, and a study whose finalist has other seeds."""
    bench_report.write(Store(str(tmp_path / "large")), 60, 10)
    folders = [tmp_path / "large", written(tmp_path / "seeds", [0.8, 0.7, 0.82, 0.75], repeats={2: 0, 3: 0})]
    html = Path(report.write_report([*map(str, folders)], str(tmp_path / "report.html"))).read_text()
    for name in ("1-contours", "1-variance_shares", "1-choice_effects", "2-seed_scores"):
        assert f'id="plot-{name}"' in html
    seen = look(html, tmp_path)
    assert seen["console"] == [] and seen["asked"] == []
    assert seen["drawn"] == seen["plots"] and not seen["wider"] and seen["overflowing"] == 0


def test_it_is_drawn_for_paper_when_it_is_printed_and_for_the_screen_afterwards(study: Path, tmp_path: Path) -> None:
    seen = look(Path(report.write_report([str(study)])).read_text(), tmp_path, PRINT)
    assert seen["console"] == []
    screen, paper, again = seen["widths"]
    assert max(paper) <= 700 < max(screen) and len(set(paper)) > 1, "narrow figures stand side by side"
    assert again == screen


def test_a_click_on_a_trial_shows_its_configuration(study: Path, tmp_path: Path) -> None:
    seen = look(Path(report.write_report([str(study)])).read_text(), tmp_path, CLICK)
    assert seen["console"] == [] and seen["open"]
    assert "trial 9 · complete" in seen["text"] and "mobilenetv2_skip" in seen["text"]
    assert f"python -m study.replay {study} 9" in seen["text"]


def test_the_live_page_reloads_itself_when_a_record_changes(
    study: Path, tmp_path: Path, change: Callable[..., None]
) -> None:
    page = serve.Page([str(study)])
    page.renew()
    before, read, reads = page.version, page.read, []

    def counted() -> tuple[bytes, str]:
        reads.append(page.version)
        if len(reads) == 3:  # the page, and one look for a newer one
            change(11, reason="still running, and changed")
            page.renew()
        return read()

    page.read = counted  # type: ignore[method-assign]
    with ThreadingHTTPServer((serve.HOST, 0), serve.handler(page)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        alone = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
        places = [alone, f"--user-data-dir={tmp_path / 'profile'}", f"http://{serve.HOST}:{server.server_port}/"]
        done = subprocess.run([str(CHROMIUM), *FLAGS.split(), *places], capture_output=True, text=True, timeout=120)
        server.shutdown()
    assert page.version != before and f'shown = "{page.version}"' in done.stdout
    assert "still running, and changed" in done.stdout
    assert [line for line in done.stderr.splitlines() if ":CONSOLE" in line] == []


def test_the_look_can_fail(tmp_path: Path) -> None:
    html = "<html><body><img src='http://127.0.0.1:9/x.png'><script>missing()</script></body></html>"
    seen = look(html, tmp_path)
    assert any("missing" in line for line in seen["console"])
    assert seen["asked"] == ["http://127.0.0.1:9/x.png"]


def test_nothing_in_a_page_can_make_it_ask(study: Path, tmp_path: Path) -> None:
    """The page's own policy holds, whatever a name in it might smuggle in."""
    html = Path(report.write_report([str(study)])).read_text()
    smuggled = html.replace("<main>", "<main><img src='http://127.0.0.1:9/x.png'>", 1)
    seen = look(smuggled, tmp_path)
    assert any("Content Security Policy" in line for line in seen["console"])
    assert seen["asked"] == []
