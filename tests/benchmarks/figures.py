"""Figures of one machine and day in one file; the table of all that have a goal.

python tests/benchmarks/figures.py          prints it, as `make bench` does at its end
"""

import json
import os
import platform
from datetime import date
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"


def device_name() -> str:
    """As in the names of files: `cpu2-x86_64`, `NVIDIA-H200`."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name().replace(" ", "-")
    return f"cpu{os.cpu_count()}-{platform.machine()}"


def device() -> torch.device:
    """Where trials are trained that benchmarks time."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def file() -> Path:
    """$BENCH_DATE is the day when `make bench` began, which midnight does not cut in two."""
    return RESULTS / f"{os.environ.get('BENCH_DATE') or date.today()}-{device_name()}.json"


def save(figures: dict[str, dict[str, Any]]) -> None:
    """Each with its `value`, a `goal` where there is one, and whatever else tells how it was found. Those that the
    file has already under other names stay."""
    RESULTS.mkdir(exist_ok=True)
    path = file()
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(known | figures, indent=1) + "\n")
    for name, figure in figures.items():
        print(line(name, figure), flush=True)


def line(name: str, figure: dict[str, Any]) -> str:
    """Goals are for at least so much; where less is better, for at most."""
    goal, value = figure.get("goal"), figure["value"]
    most = figure.get("at_most", False)
    said = "" if goal is None else f"{'at most' if most else 'at least'} {goal:g}"
    verdict = "" if goal is None else "reached" if (value <= goal if most else value >= goal) else "MISSED"
    return f"{name:66s} {value:9.3f}  {said:14s} {verdict}"


def main() -> None:
    path = file()
    for name, figure in json.loads(path.read_text()).items():
        print(line(name, figure))
    print(f"in full: {path}")


if __name__ == "__main__":
    main()
