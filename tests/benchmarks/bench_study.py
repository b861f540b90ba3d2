"""A whole small study over the same search by Ray's documented way; and what a lane idles between two trials.

    python tests/benchmarks/bench_study.py [--rounds N] [--trials N] [--epochs N]

Both are commands of their own, in turn, round by round, from the first import to the last line: Ray's start included,
and ours with its records, checkpoints, test scores and gallery. The pack is made before. The documented way has as
many trials side by side as is fastest here.
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

from seg import data, pack
from study.store import Store
from study.store.records import read_records

SPEC = """
dataset: phantom
image_size: 64
trials: {trials}
epochs: {epochs}
sampler: tpe
objective: {{metric: val_iou, mode: max}}
early_stopping: {{scheduler: none}}
finalists: 1
encoder: {{weights: none}}
fixed: {{batch_size: 16}}
search:
  model: mobilenetv2_skip
  loss: bce
  encoder_freeze: false
  encoder_lr: {{low: 1e-4, high: 1e-2, log: true}}
  decoder_lr: {{low: 1e-4, high: 1e-2, log: true}}
"""
DOCUMENTED = Path(__file__).with_name("documented_pattern.py")


def seconds(command: list[str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(command, env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0"}, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=2)
    given = parser.parse_args()
    packed = pack.build(data.load("phantom", Path("nowhere")), 64, pack.default_root())
    budget = ["--trials", str(given.trials), "--epochs", str(given.epochs)]
    documented = [sys.executable, str(DOCUMENTED), str(packed.folder), *budget, "--concurrent"]
    tried = {concurrent: seconds([*documented, concurrent]) for concurrent in ("1", "2")}
    best = min(tried, key=lambda concurrent: tried[concurrent])
    ours, theirs, idle = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder) / "small.yaml"
        spec.write_text(SPEC.format(trials=given.trials, epochs=given.epochs))
        for number in range(given.rounds):
            name = f"round-{number}"
            study = [sys.executable, "-m", "study.run", str(spec), "--storage", folder, "--name", name]
            sides = [(theirs, [*documented, best]), (ours, study)]
            for taken, command in sides if number % 2 else reversed(sides):
                taken.append(seconds(command))
            print(f"round {number + 1}: ours {ours[-1]:.1f} s, documented {theirs[-1]:.1f} s", flush=True)
            records = read_records(Store(f"{folder}/{name}"))
            idle += [record.extra["idle_seconds"] for record in records if "idle_seconds" in record.extra]
    ratios = [one / other for one, other in zip(theirs, ours, strict=True)]
    figures.save(
        {
            f"{given.trials} trials of {given.epochs} epochs, Ray's documented way over ours": {
                "value": statistics.median(ratios),
                "goal": 5.0,
                "ratios": ratios,
                "seconds_ours": ours,
                "seconds_documented": theirs,
                "seconds_documented_by_trials_side_by_side": tried,
            },
            "from a trial's last epoch to the next one's first on its lane, s": {
                "value": statistics.median(idle),
                "goal": 0.25,
                "at_most": True,
                "worst": max(idle),
                "seconds": idle,
            },
        }
    )


if __name__ == "__main__":
    main()
