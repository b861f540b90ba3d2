"""Every command that reads a study."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from analysis import rosetta, table
from analysis.published import __main__ as published_command
from analysis.report import __main__ as report_command
from seg import predict
from study import ensemble, export, ls, replay

READERS: dict[str, Callable[[str, Path], Any]] = {
    "study.ls": lambda study, out: ls.main([study]),
    "analysis.table": lambda study, out: table.main([study]),
    "analysis.table --epochs": lambda study, out: table.main([study, "--epochs", "--format", "json"]),
    "analysis.rosetta": lambda study, out: rosetta.main([study]),
    "analysis.published": lambda study, out: published_command.main([study]),
    "analysis.report": lambda study, out: report_command.main([study, "--out", str(out / "report.html")]),
    "study.export --to csv": lambda study, out: export.main([study, "--to", "csv", "--out", str(out / "c")]),
    "study.export --to tensorboard": lambda study, out: export.main(
        [study, "--to", "tensorboard", "--out", str(out / "t")]
    ),
    "study.export --to mlflow": lambda study, out: export.main([study, "--to", "mlflow", "--out", str(out / "m")]),
    "study.replay": lambda study, out: replay.main([study, "0", "--data", str(out / "data")]),
    "study.ensemble": lambda study, out: ensemble.main([study, "--data", str(out / "data")]),
    "seg.predict": lambda study, out: predict.main([study, str(photo(out / "a.png")), "--out", str(out / "p")]),
}
"""Each gives its exit status."""


def photo(path: Path) -> Path:
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(path)
    return path
