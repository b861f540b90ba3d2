"""TPE shown a part of a long history, against TPE shown all of it: what it finds, and how long a proposal takes.

    python tests/benchmarks/bench_history.py [--trials N] [--seeds N] [--processes N]

Trials of the simulated curves that bench_search.py uses, all trained to the end, one after the other. Scores of what
was found are without noise: the mean curve's last value at the best trial's choices.
"""

import argparse
import multiprocessing
import random
import statistics
import time

import figures
from bench_search import CURVES

from study.search.samplers.tpe import MAX_FITTED_TRIALS, Tpe
from study.search.searcher import Searcher
from study.simulation.recorded import RecordedCurves, load
from study.spec import load_spec
from study.store.records import Record, State

DRAWS = 10_000


def search(arguments: tuple[int, int, int]) -> tuple[float, float]:
    """The noise-free score of the trial that looks best, and milliseconds a proposal in the last tenth."""
    seed, trials, most = arguments
    spec = load_spec(str(CURVES.with_name("recorded.yaml")), [f"seed={seed}", "sampler=tpe", f"trials={trials}"])
    of, recorded = load(CURVES)
    courses = RecordedCurves(recorded, of, spec.epochs, seed)
    searcher = Searcher(spec)
    searcher._sampler = Tpe(spec, most)
    scores, experiments, seconds = [], [], []
    for trial in range(trials):
        began = time.perf_counter()
        experiments.append(searcher.ask(trial))
        seconds.append(time.perf_counter() - began)
        scores.append(float(courses.course(experiments[-1]).quality_E[-1]))
        rows = [{"epoch": spec.epochs, "val_iou": scores[-1]}]
        record = Record(trial, "", State.COMPLETE, "search", experiments[-1].to_json(), epochs=rows)
        searcher.tell(record)
    best = experiments[scores.index(max(scores))]
    return float(courses.expected(best)[-1]), 1000 * statistics.median(seconds[-trials // 10 :])


def interval(differences: list[float]) -> tuple[float, float]:
    chance = random.Random(0)
    means = sorted(statistics.fmean(chance.choices(differences, k=len(differences))) for _ in range(DRAWS))
    return means[int(0.025 * DRAWS)], means[int(0.975 * DRAWS)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    jobs = [(seed, given.trials, most) for seed in range(given.seeds) for most in (MAX_FITTED_TRIALS, given.trials)]
    with multiprocessing.get_context("forkserver").Pool(given.processes) as pool:
        found = pool.map(search, jobs, chunksize=1)
    part, whole = found[::2], found[1::2]
    differences = [one[0] - other[0] for one, other in zip(part, whole, strict=True)]
    what = f"TPE shown {MAX_FITTED_TRIALS} of {given.trials} trials: "
    figures.save(
        {
            f"{what}val_iou found, less what all of them find": {
                "value": statistics.fmean(differences),
                "interval_95": interval(differences),
                "found": [one[0] for one in part],
                "found_by_all": [one[0] for one in whole],
            },
            f"{what}ms a proposal at the end": {"value": statistics.median(ms for _, ms in part)},
            f"{what}ms a proposal at the end, shown all": {"value": statistics.median(ms for _, ms in whole)},
        }
    )


if __name__ == "__main__":
    main()
