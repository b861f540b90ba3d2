"""What it is worth that freed memory stays with the process: epochs with glibc's defaults, over epochs that keep it.

    python tests/benchmarks/bench_allocator.py [--rounds N] [--threads N]

Each side is a process of its own, in turn, round by round: the same trial on the same synthetic images, in a thread, as
Ray Train's workers train. "one arena" is "keep" with MALLOC_ARENA_MAX=1: all threads then share the main one.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import threading
import time
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

RESULTS = Path(__file__).parent / "results"
EPOCHS = 4
SIDES: dict[str, dict[str, str]] = {"default": {}, "keep": {}, "one arena": {"MALLOC_ARENA_MAX": "1"}}
"""Each with what is in its environment."""
TRIALS = {
    "fine-tuned": {"encoder_freeze": False, "encoder_lr": 1e-4, "batch_size": 16},
    "frozen": {"encoder_freeze": True, "batch_size": 32},
}


def one_side(trial: str, keep: bool, threads: int) -> None:
    """Prints the median seconds of an epoch, and the most memory that the process held, in GB."""
    import torch

    from seg import data, loop, pack
    from seg.device import memory
    from seg.experiment import Experiment

    if not keep:
        memory.keep_freed_memory = lambda: False  # type: ignore[assignment]
    torch.set_num_threads(threads)
    packed = pack.build(data.load("phantom", Path("nowhere")), 128, pack.default_root(), progress=False)
    chosen = Experiment("phantom", 128, "mobilenetv2_skip", "bce", 1000, 1e-3, encoder_weights="none", **TRIALS[trial])
    seconds = []

    def train() -> None:
        results = loop.epochs(loop.start(chosen, loop.load(packed, torch.device("cpu")), torch.device("cpu")))
        next(results)
        for _ in range(EPOCHS):
            began = time.perf_counter()
            next(results)
            seconds.append(time.perf_counter() - began)

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    print(json.dumps([statistics.median(seconds), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6]))


def run(trial: str, side: str, threads: int) -> tuple[float, float]:
    command = [sys.executable, __file__, "--side", side, "--trial", trial, "--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | SIDES[side])
    seconds, gb = json.loads(done.stdout.splitlines()[-1])
    return seconds, gb


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--trial", choices=TRIALS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        one_side(given.trial, given.side != "default", given.threads)
        return
    found = {}
    for trial in TRIALS:
        rounds = []
        for number in range(given.rounds):
            sides = list(SIDES) if number % 2 else list(reversed(SIDES))
            rounds.append({side: run(trial, side, given.threads) for side in sides})
        seconds = {side: statistics.median(measured[side][0] for measured in rounds) for side in SIDES}
        gb = {side: max(measured[side][1] for measured in rounds) for side in SIDES}
        ratios = {side: [measured["default"][0] / measured[side][0] for measured in rounds] for side in SIDES}
        found[trial] = {"epoch_seconds": seconds, "gb": gb, "default_over": ratios}
        for side, each in ratios.items():
            print(
                f"{trial}, {side}: glibc's defaults over it {statistics.median(each):.2f} ({min(each):.2f} to "
                f"{max(each):.2f}), {seconds[side]:.2f} s an epoch, {gb[side]:.2f} GB at most",
                flush=True,
            )
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{date.today()}-allocator-cpu{given.threads}-{platform.machine()}.json"
    file.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
