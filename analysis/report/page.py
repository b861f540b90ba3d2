"""The report: one self-contained HTML page about one study or several."""

from collections.abc import Sequence
from pathlib import Path

import jinja2
from plotly.offline import get_plotlyjs

from analysis import load
from analysis.report import browser, views
from seg.cli import UserError
from study.store import Store
from study.store.names import file_part

NAME = "report.html"
NARROW, WIDE = 640, 1100
"""Widths of figures in files, in pixels, as on a desktop page."""


def write_report(studies: Sequence[str], out: str | None = None, figures: Path | None = None) -> str:
    """Write the report and return its path or URI.

    `out` is a file or URI; by default `report.html` in the folder of a single study, or in the working folder for
    several. `figures` is a folder for each figure as PNG and SVG. Raises UserError if a study is missing or damaged,
    the report cannot be written, or the figures cannot be drawn.
    """
    if figures:
        browser.find_browser()  # fail before the slow part if there is none
    opened = [load.open_study(study) for study in studies]
    shown = [views.view(study) for study in opened]
    place = out or (f"{opened[0].store.uri}/{NAME}" if len(opened) == 1 else NAME)
    place = place if "://" in place else str(Path(place).expanduser().resolve())
    folder, _, name = place.rpartition("/")
    content = page(shown).encode()
    try:
        Store(folder or "/").write(name, content)
    except OSError as error:
        where = f"{error.filename or place}: cannot be written"
        raise UserError(f"{where} ({error.strerror}); give another place") from error
    if figures:
        browser.save(drawings(shown), figures)
    return place


def drawings(shown: Sequence[views.View]) -> dict[str, browser.Drawing]:
    """Return the report's figures by file name.

    The file name is the figure's name; if there are several studies, the study's number and name precede it.
    """
    found = {}
    for number, view in enumerate(shown, 1):
        study = f"{number}-{file_part(view.name)}-" if len(shown) > 1 else ""
        for chart in (*view.search, *view.scores):
            width = max(chart.width_px, WIDE if chart.wide else NARROW)
            found[study + chart.key] = browser.Drawing(chart.json, width)
    return found


def build(studies: Sequence[load.Study], live: str = "") -> str:
    """Return the page of these studies; see `page`."""
    return page([views.view(study) for study in studies], live)


def page(shown: Sequence[views.View], live: str = "") -> str:
    """Return the complete page, with its style, figures, pictures, and plotly.js inside.

    `live` is the version that a live page compares with its server's, see analysis.serve. It is empty for a file.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template(f"{NAME}.jinja")
    return template.render(studies=shown, plotly_js=get_plotlyjs(), live=live)
