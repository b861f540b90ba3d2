"""Export a study to other tools: tables, TensorBoard, MLflow.

    python -m study.export STUDY --to csv|parquet|tensorboard|mlflow [--out DIR]

This works while the study runs. A second export of the same study updates the first one.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from seg import cli
from seg.cli import STUDY_HELP, ArgumentParser
from seg.errors import UserError, redact
from study.exports import EXPORTERS, exporter
from study.exports.source import Source
from study.store.names import is_file_name
from study.store.records import open_study, read_records, read_study


def export(study: str, to: str, out: Path | None) -> str:
    """Export a study, and return a line on how to look at the result. Raises UserError if that is not possible."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # MLflow reads it when it is imported, by the next line
    write = exporter(to)
    source = _source(study)
    if not is_file_name(source.name):
        raise UserError(f"{study}/study.json: names the study {source.name!r}, which no folder is called; correct it")
    trials = f"{len(source.records)} trial{'' if len(source.records) == 1 else 's'}"
    return f"{trials}; {write(source, out)}"


def _source(study: str) -> Source:
    store = open_study(study)
    with store.reached():
        info, records = read_study(store), read_records(store)
    return Source(store.uri, info, records)


def parser() -> ArgumentParser:
    description = "Write a study for other tools."
    p = ArgumentParser(
        "study.export", description, "studies/first --to tensorboard", "studies/first --to csv --out tables"
    )
    p.add_argument("study", metavar="STUDY", help=STUDY_HELP)
    p.add_argument("--to", choices=list(EXPORTERS), required=True, help="the tool or format")
    out = "where to (default: ./<study>-<to>; mlflow: $MLFLOW_TRACKING_URI where that is set)"
    p.add_argument("--out", type=Path, metavar="DIR", help=out)
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    return cli.status_of(lambda: print(redact(export(given.study, given.to, given.out))))


if __name__ == "__main__":
    sys.exit(main())
