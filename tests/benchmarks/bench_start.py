"""How long a study takes from typing to its first optimiser step: with a lane in its own process, and with Ray.

    python tests/benchmarks/bench_start.py [--rounds N]

Whole processes in turn, on the same small study of synthetic images, packed before. The first step begins when the
first epoch is recorded, less the seconds that the epoch took.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import figures
from bench_recipe import ROOT

SPEC = ROOT / "tests" / "assets" / "specs" / "searched.yaml"
GOAL_SECONDS = 8.0
POLL_SECONDS = 0.02


def seconds(storage: Path, name: str, *arguments: str) -> float:
    command = [sys.executable, "-m", "study.run", str(SPEC), "--trials", "1", "--epochs", "1", "--no-report"]
    began = time.monotonic()
    process = subprocess.Popen(
        [*command, "--storage", str(storage), "--name", name, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    record = storage / name / "trials" / "00000" / "record.json"
    epochs: list[dict[str, float]] = []
    while not epochs and process.poll() is None:
        time.sleep(POLL_SECONDS)
        epochs = json.loads(record.read_text())["epochs"] if record.exists() else []
    took = time.monotonic() - began
    if process.wait() != 0:
        raise RuntimeError(f"{name} ended with {process.returncode}")
    return took - epochs[0]["seconds"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    own: list[float] = []
    ray: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        seconds(Path(folder), "warm-up", "--lanes", "in-process")
        for number in range(given.rounds):
            own.append(seconds(Path(folder), f"own-{number}", "--lanes", "in-process"))
            ray.append(seconds(Path(folder), f"ray-{number}", "--lanes", "1"))
    figures.save(
        {
            "from typing to the first step, in this process (s)": {
                "value": statistics.median(own),
                "goal": GOAL_SECONDS,
                "at_most": True,
                "all": own,
            },
            "from typing to the first step, with Ray (s)": {"value": statistics.median(ray), "all": ray},
        }
    )


if __name__ == "__main__":
    main()
