"""A study for other tools: tables, TensorBoard, MLflow.

    python -m study.export STUDY --to csv|parquet|tensorboard|mlflow [--out DIR]

Works while the study runs. A second export of the same study brings the first up to date.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from study.arguments import ArgumentParser
from study.exporters import EXPORTERS, exporter
from study.exporters.source import ExportError, Source
from study.ls import open_study
from study.names import is_file_name
from study.records import FormatError, read_records, read_study
from study.redact import complain, redact
from study.store import StoreError


def export(study: str, to: str, out: Path | None) -> str:
    """How to look at what was written. FileNotFoundError, FormatError, StoreError, ExportError say what is wrong."""
    write = exporter(to)
    source = _source(study)
    if not is_file_name(source.name):
        raise ExportError(f"{study}/study.json: names the study {source.name!r}, which no folder is called; correct it")
    trials = f"{len(source.records)} trial{'' if len(source.records) == 1 else 's'}"
    return f"{trials}; {write(source, out)}"


def _source(study: str) -> Source:
    store = open_study(study)
    with store.reached():
        info, records = read_study(store), read_records(store)
    return Source(store.uri, info, records)


def parser() -> ArgumentParser:
    p = ArgumentParser(prog="python -m study.export", description="A study for other tools.")
    p.add_argument("study", metavar="STUDY", help="<storage>/<name>, a folder or s3://...")
    p.add_argument("--to", choices=list(EXPORTERS), required=True)
    out = "default: ./<study>-<to>; mlflow: $MLFLOW_TRACKING_URI where that is set"
    p.add_argument("--out", type=Path, metavar="DIR", help=out)
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    try:
        print(redact(export(given.study, given.to, given.out)))
    except (ExportError, FileNotFoundError, FormatError, StoreError) as error:
        complain(error)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
