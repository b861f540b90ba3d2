"""How long `study.run --dry-run` takes to answer, from typing to its last line: isic, and a folder of 60 photographs.

    python tests/benchmarks/bench_dry_run.py [--rounds N] [--before COMMIT]

Whole processes, the median of several, each time with nothing timed before (a cache of its own) and once more with what
that left. With --before, the same commands with the code of another commit, in turn.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import figures
from bench_recipe import ROOT, data_dir, pets60

GOAL_SECONDS = 8.0


def seconds(code: Path, spec: str, data: Path, cache: Path) -> float:
    command = [
        sys.executable,
        "-m",
        "study.run",
        spec,
        "--data",
        data,
        "--weights",
        data_dir() / "weights",
        "--dry-run",
    ]
    environment = os.environ | {"STUDY_CACHE": str(cache / "packs"), "PYTHONPATH": str(code)}
    began = time.perf_counter()
    subprocess.run(list(map(str, command)), cwd=code, env=environment, check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--before", metavar="COMMIT", help="also with the code of this commit")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        codes = {"": ROOT}
        if given.before:
            codes[f", {given.before}"] = Path(scratch) / "before"
            subprocess.run(
                ["git", "worktree", "add", "-q", codes[f", {given.before}"], given.before], cwd=ROOT, check=True
            )
        pets60(data_dir() / "oxford-iiit-pet", 0, Path(scratch) / "photos")
        taken: dict[str, list[float]] = {}
        for number in range(given.rounds):
            for spec, data in (("isic", data_dir()), ("folder", Path(scratch) / "photos")):
                for when, code in codes.items():
                    cache = Path(scratch) / f"cache-{spec}-{number}{when}"
                    for warm in ("", ", timed before"):
                        taken.setdefault(f"{spec}{warm}{when}", []).append(seconds(code, spec, data, cache))
        if given.before:
            subprocess.run(["git", "worktree", "remove", "--force", codes[f", {given.before}"]], cwd=ROOT, check=True)
    figures.save(
        {
            f"--dry-run of {name} (s)": {
                "value": statistics.median(times),
                "goal": GOAL_SECONDS,
                "at_most": True,
                "all": times,
            }
            for name, times in taken.items()
        }
    )


if __name__ == "__main__":
    main()
