"""Write one self-contained HTML file about one study or several. It needs no network, prints, and fits a phone.

python -m analysis.report STUDY [STUDY ...] [--out report.html] [--figures DIR]
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.report.page import NAME, write_report
from seg.cli import STUDY_HELP, ArgumentParser, redact, status_of


def parser() -> ArgumentParser:
    description = "Write one HTML file about one study or several."
    p = ArgumentParser("analysis.report", description, "studies/first", "studies/* --figures figures")
    p.add_argument("studies", nargs="+", metavar="STUDY", help=STUDY_HELP)
    p.add_argument("--figures", type=Path, metavar="DIR", help="also: every figure as PNG and SVG, drawn by Chromium")
    p.add_argument("--out", metavar="FILE", help=f"the report (default: STUDY/{NAME}; ./{NAME} for several studies)")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    return status_of(lambda: _write(given))


def _write(given: argparse.Namespace) -> None:
    place = write_report(given.studies, given.out, given.figures)
    print(redact(f"report: {place}"))
    if given.figures:
        print(f"figures: {given.figures}, as PNG and SVG")


if __name__ == "__main__":
    sys.exit(main())
