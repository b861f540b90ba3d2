"""Figures in files: drawn by a browser, and one line where there is none."""

import io
import json
import shutil
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from debian import not_installed
from PIL import Image

from analysis import report
from analysis.report import __main__ as report_command
from analysis.report import browser, page

DRAWING = browser.Drawing(json.dumps({"data": [{"x": [1, 2], "y": [3, 4]}], "layout": {"height": 300}}), 500)
needs_browser = pytest.mark.skipif(not any(map(shutil.which, browser.BROWSERS)), reason=not_installed("chromium"))


@needs_browser
@pytest.mark.slow
def test_every_figure_of_the_report_is_two_files(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new" / "figures"
    assert report_command.main([str(study), "--out", str(tmp_path / "report.html"), "--figures", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines()[1] == f"figures: {folder}, as PNG and SVG"
    drawn = {path.stem for path in folder.iterdir()}
    assert {"history", "learning_curves", "parallel_coordinates", "importance", "slices", "radar"} <= drawn
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{n}.{e}" for n in drawn for e in ("png", "svg"))
    for name in drawn:
        assert "<svg" in (folder / f"{name}.svg").read_text()[:200]
        picture = Image.open(folder / f"{name}.png").convert("RGB")
        assert picture.width >= 2 * page.NARROW and picture.getpixel((0, 0)) == (255, 255, 255)
        assert len(set(picture.resize((200, 100)).get_flattened_data())) > 5, "something is drawn"


@needs_browser
@pytest.mark.slow
def test_several_studies_keep_their_figures_apart(study: Path, pets: Path, tmp_path: Path) -> None:
    report.write_report([str(study), str(pets)], str(tmp_path / "report.html"), tmp_path / "figures")
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"1-small-history.png", "2-pets-history.svg"} <= names


@needs_browser
@pytest.mark.slow
def test_a_figure_that_cannot_be_drawn_is_said(tmp_path: Path) -> None:
    with pytest.raises(browser.DrawingError, match=r"--figures: .*JSON"):
        browser.save({"broken": browser.Drawing("{", 500)}, tmp_path)


@pytest.mark.parametrize("named", ["", "nowhere/chrome"])
def test_no_browser_is_one_line_and_nothing_is_written(
    named: str, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(browser, "BROWSERS", ("chromium",))
    monkeypatch.setenv(browser.VARIABLE, named)
    out = tmp_path / "report.html"
    assert report_command.main([str(study), "--out", str(out), "--figures", str(tmp_path / "figures")]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: --figures: ") and err.count("\n") == 1 and browser.VARIABLE in err
    assert not out.exists() and not (tmp_path / "figures").exists()


def test_a_browser_that_ends_at_once_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(browser.VARIABLE, "/bin/false")
    with pytest.raises(browser.DrawingError, match="/bin/false does not draw; name another browser"):
        browser.save({"one": DRAWING}, tmp_path)


def test_only_who_was_told_the_word_may_bring_a_figure_and_only_one_that_was_asked_for(tmp_path: Path) -> None:
    desk = browser._Desk({"one": DRAWING}, tmp_path / "in")
    (tmp_path / "in").mkdir()

    def post(address: str) -> int:
        try:
            with urllib.request.urlopen(urllib.request.Request(address, b"<svg/>", method="POST")) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    with browser._served(desk) as address:
        stranger = address.rstrip("/").rpartition("/")[0]
        assert post(f"{stranger}/one.svg") == 404 == post(f"{stranger}/word/one.svg")
        assert list((tmp_path / "in").iterdir()) == []
        for name in ("two.svg", "../one.svg", "one.html"):
            post(address + name)
        assert post(f"{address}one.svg") == 200
        with urllib.request.urlopen(f"{address}figures.json") as answer:
            assert json.load(io.BytesIO(answer.read()))["figures"]["one"]["width"] == 500
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*.*")] == [Path("in/one.svg")]
