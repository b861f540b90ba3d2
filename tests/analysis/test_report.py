import base64
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from analysis import report

CHROMIUM = shutil.which("chromium")


def test_report_is_one_file_that_loads_nothing(study: Path) -> None:
    place = Path(report.write_report([str(study)]))
    assert place == study / "report.html"
    assert place.stat().st_size < 8_000_000
    html = place.read_text()
    own = re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)
    assert not re.findall(r"""(?:src|href|action)\s*=\s*["'](?!data:|#)""", own)
    assert "url(" not in own and "@import" not in own
    assert html.count("plotly.js v") >= 1


def test_report_says_what_a_reader_must_know(study: Path) -> None:
    html = Path(report.write_report([str(study)])).read_text()
    assert "Synthetic data" in html
    assert "training loss is nan in epoch 1" in html
    assert "python -m study.replay" in html
    assert html.count("<img alt=") == 2


def test_names_are_escaped(study: Path) -> None:
    html = Path(report.write_report([str(study)])).read_text()
    table = html[html.index("<table>") : html.index("</table>")]
    assert "R1 model 1 &lt;frozen&gt;" in table and "<frozen>" not in table


def test_several_studies_and_a_place_of_ones_own(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "both.html"
    assert report.main([str(study), str(study), "--out", str(out)]) == 0
    assert out.read_text().count("<h1>small</h1>") == 2


def test_no_study_is_one_line_and_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main([str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1


def test_a_study_that_has_just_begun_has_a_report(study: Path) -> None:
    shutil.rmtree(study / "trials")
    shutil.rmtree(study / "gallery")
    assert "No trial has a score yet" in Path(report.write_report([str(study)])).read_text()


WATCH = """<script>const seen = [];
addEventListener("error", event => seen.push(event.message || event.target.outerHTML), true);
addEventListener("unhandledrejection", event => seen.push(String(event.reason)));
console.error = (...words) => seen.push(words.join(" "));</script>"""
TELL = """<script>setTimeout(() => {
  const entries = performance.getEntriesByType("resource").map(entry => entry.name);
  const asked = entries.filter(name => !name.startsWith("data:"));
  const drawn = document.querySelectorAll("svg").length;
  document.body.textContent = "told:" + btoa(JSON.stringify({seen, asked, drawn})) + ":told";
}, 3000)</script>"""


@pytest.mark.e2e
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (see apt.txt)")
def test_report_in_a_browser_without_error_or_request(study: Path, tmp_path: Path) -> None:
    html = Path(report.write_report([str(study)])).read_text()
    told = look(html, tmp_path)
    assert told["seen"] == [] and told["asked"] == []
    assert told["drawn"] > 4


@pytest.mark.e2e
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (see apt.txt)")
def test_the_look_in_a_browser_can_fail(tmp_path: Path) -> None:
    html = "<html><head></head><body><img src='http://127.0.0.1:9/x.png'><script>missing()</script></body></html>"
    told = look(html, tmp_path)
    assert any("missing" in text for text in told["seen"]) and told["asked"] == ["http://127.0.0.1:9/x.png"]


def look(html: str, folder: Path) -> dict[str, Any]:
    """What a page in headless Chromium, cut off from every network, complained of, asked for and drew."""
    page = folder / "watched.html"
    page.write_text(html.replace("<head>", f"<head>{WATCH}", 1).replace("</body>", f"{TELL}</body>"))
    quiet = "--headless --no-sandbox --disable-gpu --enable-unsafe-swiftshader --disable-quic --no-first-run"
    done = subprocess.run(
        [
            str(CHROMIUM),
            *quiet.split(),
            "--disable-background-networking",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            f"--user-data-dir={folder / 'profile'}",
            "--virtual-time-budget=8000",
            "--dump-dom",
            f"file://{page}",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    match = re.search("told:([A-Za-z0-9+/=]+):told", done.stdout)
    assert match, done.stdout[-2000:]
    told: dict[str, Any] = json.loads(base64.b64decode(match[1]))
    return told
