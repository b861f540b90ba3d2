"""Where a study can be exported to. An exporter is a function of the study and a folder, None where the user named
none; it says how to look at what it wrote."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from study.exporters.source import ExportError, Source

EXPORTERS = {
    "csv": "tables.write_csv",
    "parquet": "tables.write_parquet",
    "tensorboard": "tensorboard_events.write",
    "mlflow": "mlflow_runs.write",
}
"""Name -> module and function. Imported when asked for: some need packages that not everyone has."""


def exporter(to: str) -> Callable[[Source, Path | None], str]:
    """ExportError where the package that it needs is not installed."""
    module, function = EXPORTERS[to].split(".")
    try:
        found: Callable[[Source, Path | None], str] = getattr(import_module(f"study.exporters.{module}"), function)
    except ModuleNotFoundError as error:
        raise ExportError(f"--to {to}: {error.name} is not installed; pip install 'segstudy[export]'") from error
    return found
