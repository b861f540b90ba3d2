"""Export to trials.* and epochs.*, the tables of `analysis.table`.

A separate process writes them, because study may not import analysis.
"""

import os
import subprocess
import sys
from pathlib import Path

from seg.errors import UserError
from study.exports.source import Source, claim

BESIDE = Path(__file__).parents[2]
"""The folder that holds analysis beside study, whether they are installed or not."""
TABLES: dict[str, tuple[str, ...]] = {"trials": (), "epochs": ("--epochs",)}
"""The options of `analysis.table` for each file."""


def write_csv(source: Source, out: Path | None) -> str:
    return _write(source, claim(source, "csv", out).path, "csv")


def write_parquet(source: Source, out: Path | None) -> str:
    return _write(source, claim(source, "parquet", out).path, "parquet")


def _write(source: Source, folder: Path, suffix: str) -> str:
    for name, options in TABLES.items():
        partial = folder / f".{name}.{suffix}.partial"
        try:
            _table(source.uri, partial, [f"--format={suffix}", *options])
            os.replace(partial, folder / f"{name}.{suffix}")
        finally:
            partial.unlink(missing_ok=True)
    return f"tables: {folder / f'trials.{suffix}'}, {folder / f'epochs.{suffix}'}"


def _table(uri: str, path: Path, options: list[str]) -> None:
    with path.open("wb") as file:
        command = [sys.executable, "-m", "analysis.table", uri, *options]
        done = subprocess.run(command, stdout=file, stderr=subprocess.PIPE, text=True, check=False, cwd=BESIDE)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["analysis.table gave no reason"]
        raise UserError(said[-1].removeprefix("error: "))
