"""One self-contained HTML file of one study or several: it needs no network, prints, and fits a phone.

python -m analysis.report STUDY [STUDY ...] [--out report.html]
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import jinja2
from plotly.offline import get_plotlyjs

from analysis import load, views
from analysis.sealed import NotComparable
from study.arguments import ArgumentParser
from study.redact import complain, redact
from study.store import Store, StoreError

NAME = "report.html"


def write_report(studies: Sequence[str], out: str | None = None) -> str:
    """Write the report and return its path or URI. `out` is a file or URI; by default `report.html` in the folder of
    a single study, or in the working folder for several. StudyNotFound where one of them is none."""
    opened = [load.open_study(study) for study in studies]
    place = out or (f"{opened[0].store.uri}/{NAME}" if len(opened) == 1 else NAME)
    place = place if "://" in place else str(Path(place).expanduser().resolve())
    folder, _, name = place.rpartition("/")
    Store(folder or "/").write(name, build(opened).encode())
    return place


def build(studies: Sequence[load.Study], live: str = "") -> str:
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
    shown = [views.view(study) for study in studies]
    return template.render(studies=shown, plotly_js=get_plotlyjs(), live=live)


def parser() -> ArgumentParser:
    p = ArgumentParser(prog="python -m analysis.report", description="One HTML file of one study or several.")
    p.add_argument("studies", nargs="+", metavar="STUDY", help="<storage>/<name>, a folder or s3://...")
    p.add_argument("--out", metavar="FILE", help=f"default: STUDY/{NAME}; ./{NAME} for several studies")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    try:
        place = write_report(given.studies, given.out)
    except (load.StudyNotFound, NotComparable, StoreError) as error:
        complain(error)
        return 2
    except OSError as error:
        complain(f"{error.filename or given.out}: cannot be written ({error.strerror}); give --out")
        return 2
    print(redact(f"report: {place}"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
