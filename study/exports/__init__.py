"""The formats that a study can be exported to.

An exporter is a function of the study and a folder, which is None if the user named no folder. It returns a line that
says where the output is or how to look at it.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from seg.errors import UserError
from study.exports.source import Source

EXPORTERS = {
    "csv": "source.write_csv",
    "parquet": "source.write_parquet",
    "tensorboard": "tensorboard.write",
    "mlflow": "mlflow.write",
}
"""The module and function of each exporter, by name. A module is imported on demand: some need optional packages."""


def exporter(to: str) -> Callable[[Source, Path | None], str]:
    """Return the exporter named `to`. Raises UserError if a package that it needs is not installed."""
    module, function = EXPORTERS[to].split(".")
    try:
        found: Callable[[Source, Path | None], str] = getattr(import_module(f"study.exports.{module}"), function)
    except ModuleNotFoundError as error:
        raise UserError(f"--to {to}: {error.name} is not installed; pip install 'segstudy[export]'") from error
    return found
