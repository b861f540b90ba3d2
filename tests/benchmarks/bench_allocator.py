"""What it is worth that freed memory stays with the process: epochs with glibc's defaults, over epochs that keep it.

    python tests/benchmarks/bench_allocator.py [--rounds N] [--threads N]

Each side is a process of its own, in turn, round by round: the same trial on the same synthetic images.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

RESULTS = Path(__file__).parent / "results"
EPOCHS = 4
TRIALS = {
    "fine-tuned": {"encoder_freeze": False, "encoder_lr": 1e-4, "batch_size": 16},
    "frozen": {"encoder_freeze": True, "batch_size": 32},
}


def one_side(trial: str, keep: bool, threads: int) -> None:
    """Prints the median seconds of an epoch, and the most memory that the process held, in GB."""
    import torch

    from seg import allocator, data, loop, pack
    from seg.experiment import Experiment

    if not keep:
        allocator.keep_freed_memory = lambda: False  # type: ignore[assignment]
    torch.set_num_threads(threads)
    packed = pack.build(data.load("phantom", Path("nowhere")), 128, pack.default_root(), progress=False)
    chosen = Experiment("phantom", 128, "mobilenetv2_skip", "bce", 1000, 1e-3, encoder_weights="none", **TRIALS[trial])
    results = loop.epochs(loop.start(chosen, loop.load(packed, torch.device("cpu")), torch.device("cpu")))
    next(results)
    seconds = []
    for _ in range(EPOCHS):
        began = time.perf_counter()
        next(results)
        seconds.append(time.perf_counter() - began)
    print(json.dumps([statistics.median(seconds), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6]))


def run(trial: str, side: str, threads: int) -> tuple[float, float]:
    command = [sys.executable, __file__, "--side", side, "--trial", trial, "--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, gb = json.loads(done.stdout.splitlines()[-1])
    return seconds, gb


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--side", choices=["default", "keep"], help=argparse.SUPPRESS)
    parser.add_argument("--trial", choices=TRIALS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        one_side(given.trial, given.side == "keep", given.threads)
        return
    found = {}
    for trial in TRIALS:
        rounds = []
        for number in range(given.rounds):
            sides = ("default", "keep") if number % 2 else ("keep", "default")
            rounds.append({side: run(trial, side, given.threads) for side in sides})
        ratios = [sides["default"][0] / sides["keep"][0] for sides in rounds]
        medians = {side: statistics.median(sides[side][0] for sides in rounds) for side in ("default", "keep")}
        most = {side: max(sides[side][1] for sides in rounds) for side in ("default", "keep")}
        found[trial] = {"ratio": statistics.median(ratios), "ratios": ratios, "epoch_seconds": medians, "gb": most}
        print(
            f"{trial}: glibc's defaults over kept memory {statistics.median(ratios):.2f} ({min(ratios):.2f} to "
            f"{max(ratios):.2f}), {medians['default']:.2f} s and {medians['keep']:.2f} s an epoch, "
            f"{most['default']:.2f} GB and {most['keep']:.2f} GB at most",
            flush=True,
        )
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{date.today()}-allocator-cpu{given.threads}-{platform.machine()}.json"
    file.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
