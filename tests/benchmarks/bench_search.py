"""Epochs that each sampler with each scheduler needs for the score of random search at full epochs.

    python tests/benchmarks/bench_search.py [--all] [--samplers NAME ...] [--seeds N] [--lanes N] [--processes N]
    python tests/benchmarks/bench_search.py --record STUDY        make curves.json from a study of recorded.yaml

Learning curves are simulated, fitted to recorded trials of ours (curves.json, see study.simulation.recorded): real
training of MobileNetV2 on 240 images of ISIC 2016, every trial to its end. The score to reach is the median of what
random search has after TARGET_TRIALS whole trials; every study runs until it is reached, or for MOST_TRIALS. Medians
over seeds, and their ratio to random search at full epochs, with bootstrap intervals over the seeds.

Without --all, only the row of random search and the one of the goal. With --all docs/search.md is made from
results/search.json, where each case is kept once its seeds are through; --samplers limits it to these, besides random.
"""

import argparse
import dataclasses
import json
import math
import multiprocessing
import random
import statistics
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import figures
from fsspec.implementations.memory import MemoryFileSystem

from study.simulation.lanes import Faults
from study.simulation.recorded import curves, of_study, save
from study.simulation.study import SimulatedStudy
from study.spec import Spec, load_spec
from study.store import Store

HERE = Path(__file__).parent
CURVES = HERE / "curves.json"
TABLE = HERE.parents[1] / "docs" / "search.md"
KEPT = figures.RESULTS / "search.json"
TARGET_TRIALS, MOST_TRIALS = 100, 400
DRAWS = 10_000
"""Of a bootstrap."""
SCHEDULERS = ("none", "asha", "promoting_asha", "hyperband", "median")
SAMPLERS = ("random", "qmc", "tpe", "gp", "cmaes")
NUMBERS = {"search.loss": "bce", "search.encoder_freeze": "[false]", "search.augment": "flips"}
"""What is fixed in the second space, so that only numbers are left, as CMA-ES needs it."""


@dataclass(frozen=True)
class Case:
    space: str
    """`all`: every choice that was recorded; `numbers`: learning rates, weight decay, batch size."""
    sampler: str
    scheduler: str

    def spec(self, seed: int, trials: int) -> Spec:
        stopping = f"early_stopping={{scheduler: {self.scheduler}, min_epochs: 1, reduction_factor: 3}}"
        fixed = [f"{key}={value}" for key, value in NUMBERS.items()] if self.space == "numbers" else []
        more = [f"sampler={self.sampler}", stopping, f"trials={trials}", f"seed={seed}", *fixed]
        return load_spec(str(HERE / "recorded.yaml"), more)


REFERENCE = {space: Case(space, "random", "none") for space in ("all", "numbers")}
GOAL = Case("all", "tpe", "promoting_asha")


def run(case: Case, seed: int, lanes: int, trials: int, target: float = math.inf) -> tuple[float, int]:
    """The best score, and the epochs trained by then, of a study that ends where `target` is reached."""
    spec = case.spec(seed, trials)
    store = Store(f"memory://{uuid.uuid4().hex}")
    study = SimulatedStudy(spec, store, curves(str(CURVES), spec, seed, 0.0), lanes, Faults())
    study.create()
    best, epochs = -math.inf, 0
    for _ in study.events():
        leader = study.tally.best
        score = leader.best["val_iou"] if leader else -math.inf
        if score > best:
            best, epochs = score, study.lanes.results
        if best >= target:
            break
    study.recorder._writer.flush()
    MemoryFileSystem.store.clear()
    return best, epochs if best >= target or target == math.inf else 10**9


def _needed(arguments: tuple[Case, int, int, float]) -> tuple[Case, int, int]:
    case, seed, lanes, target = arguments
    _, epochs = run(case, seed, lanes, MOST_TRIALS, target)
    return case, seed, epochs


def _scored(arguments: tuple[Case, int, int]) -> float:
    case, seed, lanes = arguments
    return run(case, seed, lanes, TARGET_TRIALS)[0]


def interval(needed: Sequence[int], reference: Sequence[int]) -> tuple[float, float]:
    """95 % of the ratios of medians, seeds drawn anew with replacement on both sides, lie in it."""
    chance = random.Random(0)
    ratios = sorted(
        statistics.median(chance.choices(needed, k=len(needed)))
        / statistics.median(chance.choices(reference, k=len(reference)))
        for _ in range(DRAWS)
    )
    return ratios[int(0.025 * DRAWS)], ratios[int(0.975 * DRAWS)]


def cases(everything: bool, samplers: Sequence[str]) -> list[Case]:
    if not everything:
        return [REFERENCE["all"], GOAL]
    found = [Case("all", sampler, scheduler) for sampler in SAMPLERS[:-1] for scheduler in SCHEDULERS]
    found += [Case("numbers", sampler, scheduler) for sampler in SAMPLERS for scheduler in SCHEDULERS]
    return [case for case in found if case.sampler in samplers or case in REFERENCE.values()]


def keep(found: dict[str, Any], seeds: int, lanes: int) -> None:
    """Beside what is there of other cases; and the table of all."""
    known = json.loads(KEPT.read_text()) if KEPT.exists() else []
    by_case = {(row["space"], row["sampler"], row["scheduler"]): row for row in [*known, found]}
    KEPT.write_text(json.dumps(list(by_case.values()), indent=1) + "\n")
    TABLE.write_text(markdown(list(by_case.values()), seeds, lanes))


def row(case: Case, epochs: list[int], reference: list[int], target: float) -> dict[str, Any]:
    return dataclasses.asdict(case) | {
        "target": target,
        "epochs_median": statistics.median(epochs),
        "ratio": statistics.median(epochs) / statistics.median(reference),
        "interval_95": interval(epochs, reference),
        "not_reached": sum(e == 10**9 for e in epochs),
        "epochs": epochs,
    }


def markdown(found: list[dict[str, Any]], seeds: int, lanes: int) -> str:
    lines = [
        "# Epochs to the score of random search",
        "",
        f"Made by `python tests/benchmarks/bench_search.py --all`: {seeds} seeds, {lanes} simulated lanes, trials of",
        "27 epochs, rungs at 1, 3 and 9. Learning curves are simulated, but fitted to recorded trials: MobileNetV2 on",
        "240 images of ISIC 2016 ([recorded.yaml](../tests/benchmarks/recorded.yaml)); they say how a search does on",
        f"such a task. To reach: what random search has after {TARGET_TRIALS} whole trials, in the median. Each cell:",
        "epochs in the median, their ratio to those of random search at full epochs (95 %, by bootstrap over seeds).",
    ]
    for space, title in (("all", "All choices"), ("numbers", "Numbers alone")):
        of = [row for row in found if row["space"] == space]
        if not of:
            continue
        lines += ["", f"## {title}", "", f"To reach: val_iou {of[0]['target']:.4f}.", ""]
        lines += ["| sampler | " + " | ".join(SCHEDULERS) + " |", "|---" * (len(SCHEDULERS) + 1) + "|"]
        for sampler in SAMPLERS:
            cells = [_cell(of, sampler, scheduler) for scheduler in SCHEDULERS]
            if any(cells):
                lines.append(f"| {sampler} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(of: list[dict[str, Any]], sampler: str, scheduler: str) -> str:
    for row in of:
        if (row["sampler"], row["scheduler"]) == (sampler, scheduler):
            low, high = row["interval_95"]
            if row["epochs_median"] == 10**9:
                return f"not reached by most ({row['not_reached']} of {len(row['epochs'])})"
            top = f"{high:.2f}" if high < 100 else "∞"
            return f"{row['epochs_median']:.0f}: {row['ratio']:.2f} ({low:.2f} to {top})"
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=SAMPLERS)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--lanes", type=int, default=8)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--record", metavar="STUDY")
    given = parser.parse_args()
    if given.record:
        save(CURVES, *of_study(given.record))
        return
    chosen = cases(given.all, given.samplers)
    spaces = {case.space for case in chosen}
    with multiprocessing.get_context("forkserver").Pool(given.processes) as pool:
        targets = {}
        for space in sorted(spaces):
            asked = [(REFERENCE[space], seed, given.lanes) for seed in range(given.seeds)]
            targets[space] = statistics.median(pool.map(_scored, asked, chunksize=1))
            print(f"{space}: to reach {targets[space]:.4f}", flush=True)
        jobs = [(case, seed, given.lanes, targets[case.space]) for case in chosen for seed in range(given.seeds)]
        needed: dict[Case, list[int]] = {case: [] for case in chosen}
        found: dict[Case, dict[str, Any]] = {}
        for case, seed, epochs in pool.imap(_needed, jobs):
            needed[case].append(epochs)
            if seed == given.seeds - 1:
                median = statistics.median(needed[case])
                print(f"{case.space} {case.sampler} {case.scheduler}: {median:.0f} epochs", flush=True)
                found[case] = row(case, needed[case], needed[REFERENCE[case.space]], targets[case.space])
                if given.all:
                    keep(found[case], given.seeds, given.lanes)
    if GOAL not in found:
        return
    name = "epochs of TPE with promoting ASHA over those of random search at full epochs, simulated"
    figures.save({name: {"value": found[GOAL]["ratio"], "goal": 0.2, "at_most": True} | found[GOAL]})


if __name__ == "__main__":
    main()
