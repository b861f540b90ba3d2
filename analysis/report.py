"""One self-contained HTML file of one study or several: it needs no network, prints, and fits a phone.

python -m analysis.report STUDY [STUDY ...] [--out report.html] [--figures DIR]
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import jinja2
from plotly.offline import get_plotlyjs

from analysis import images, load, views
from analysis.sealed import NotComparable
from study.arguments import ArgumentParser
from study.names import file_part
from study.redact import complain, redact
from study.store import Store, StoreError

NAME = "report.html"
NARROW, WIDE = 640, 1100
"""Widths of figures in files, in pixels, as a page on a desk has them."""


def write_report(studies: Sequence[str], out: str | None = None, figures: Path | None = None) -> str:
    """Write the report and return its path or URI. `out` is a file or URI; by default `report.html` in the folder of
    a single study, or in the working folder for several. `figures`: a folder for each figure as PNG and SVG.
    StudyNotFound where one of them is none, DrawingError where there is no browser for figures."""
    if figures:
        images.find_browser()  # missing, it is said before the report takes its time
    opened = [load.open_study(study) for study in studies]
    shown = [views.view(study) for study in opened]
    place = out or (f"{opened[0].store.uri}/{NAME}" if len(opened) == 1 else NAME)
    place = place if "://" in place else str(Path(place).expanduser().resolve())
    folder, _, name = place.rpartition("/")
    Store(folder or "/").write(name, page(shown).encode())
    if figures:
        images.save(drawings(shown), figures)
    return place


def drawings(shown: Sequence[views.View]) -> dict[str, images.Drawing]:
    """The report's figures by their file's name: the figure's own, behind the study's where there are several."""
    found = {}
    for number, view in enumerate(shown, 1):
        study = f"{number}-{file_part(view.name)}-" if len(shown) > 1 else ""
        for chart in (*view.search, *view.scores):
            width = max(chart.width_px, WIDE if chart.wide else NARROW)
            found[study + chart.key] = images.Drawing(chart.json, width)
    return found


def build(studies: Sequence[load.Study], live: str = "") -> str:
    """The page of these studies, see page."""
    return page([views.view(study) for study in studies], live)


def page(shown: Sequence[views.View], live: str = "") -> str:
    """The page, complete: style, figures, pictures and the drawing library are inside it. A `live` one
    is told its version, and asks whoever serves it for a newer one; see analysis.serve."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template(f"{NAME}.jinja")
    return template.render(studies=shown, plotly_js=get_plotlyjs(), live=live)


def parser() -> ArgumentParser:
    p = ArgumentParser(prog="python -m analysis.report", description="One HTML file of one study or several.")
    p.add_argument("studies", nargs="+", metavar="STUDY", help="<storage>/<name>, a folder or s3://...")
    p.add_argument("--figures", type=Path, metavar="DIR", help="also: every figure as PNG and SVG, drawn by Chromium")
    p.add_argument("--out", metavar="FILE", help=f"default: STUDY/{NAME}; ./{NAME} for several studies")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    try:
        place = write_report(given.studies, given.out, given.figures)
    except (load.StudyNotFound, NotComparable, StoreError, images.DrawingError) as error:
        complain(error)
        return 2
    except OSError as error:
        complain(f"{error.filename or given.out}: cannot be written ({error.strerror}); give another place")
        return 2
    print(redact(f"report: {place}"))
    if given.figures:
        print(f"figures: {given.figures}, as PNG and SVG")
    return 0


if __name__ == "__main__":
    sys.exit(main())
