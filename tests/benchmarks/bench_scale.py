"""A long study on many lanes, simulated: what each result costs the study's process, at the beginning and at the end.

    python tests/benchmarks/bench_scale.py [--trials 10000] [--lanes 200] [--sampler tpe] [--scheduler promoting_asha]

The search, scheduler, records and store are those of a real study; lanes and their learning curves are made up, with
crashes, stragglers and lost nodes. Every invariant is checked: each trial ends once, no epoch twice, no lane idle while
trials wait. Ray's own part of a result is in bench_driver.py.
"""

import argparse
import resource
import statistics
import tempfile
import time
from pathlib import Path

import figures

from study.ranking.objective import Objective
from study.search.search import Search
from study.simulation.lanes import Faults
from study.simulation.learning_curve import ModelCurves
from study.simulation.study import SimulatedStudy
from study.spec import load_spec
from study.store import Store
from study.store.records import read_records
from study.trials.tally import Tally

SPEC = Path(__file__).parents[1] / "assets" / "specs" / "with-baselines.yaml"
ASKED = 20
"""Proposals whose time is taken after the end."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--lanes", type=int, default=200)
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--scheduler", default="promoting_asha")
    given = parser.parse_args()
    stopping = f"early_stopping.scheduler={given.scheduler}"
    spec = load_spec(str(SPEC), [stopping, f"sampler={given.sampler}", f"trials={given.trials}"])
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"{folder}/study")
        study = SimulatedStudy(spec, store, ModelCurves(spec, 0, 0.02), given.lanes, Faults(0.05, 1.0))
        study.create()
        began = time.perf_counter()
        for _ in study.events():
            pass
        decided = time.perf_counter() - began
        violations = study.finish()
        whole = time.perf_counter() - began
        print(study.summary(), study.costs(), *violations, sep="\n", flush=True)
        records = read_records(store)
    began = time.perf_counter()
    search = Search(spec, records)
    resumed = time.perf_counter() - began
    asked = []
    for trial in range(ASKED):
        began = time.perf_counter()
        search._searcher.ask(given.trials + trial)
        asked.append(1000 * (time.perf_counter() - began))
    tally = Tally(given.trials, given.lanes, Objective("val_iou", "max"), records)
    began = time.perf_counter()
    tally.summary()
    summary = 1000 * (time.perf_counter() - began)
    parts = study.milliseconds()
    what = f"{given.trials} trials on {given.lanes} simulated lanes, {given.sampler} and {given.scheduler}: "
    about = {"results": study.lanes.results, "nodes_lost": study.lanes.losses, "milliseconds_by_twentieth": parts}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    last = statistics.mean(parts[-2:])
    figures.save(
        {
            f"{what}ms a result, last tenth": {"value": last, "goal": 5.0, "at_most": True, **about},
            f"{what}ms a result, first tenth": {"value": statistics.mean(parts[:2]), "goal": 5.0, "at_most": True},
            f"{what}peak memory, GiB": {"value": memory, "goal": 2.0, "at_most": True},
            f"{what}violations": {"value": len(violations), "goal": 0, "at_most": True},
            f"{what}seconds of decisions": {"value": decided, "with_the_last_record_in_the_store": whole},
            f"{what}seconds to resume": {"value": resumed},
            f"{what}ms a proposal at the end": {"value": statistics.median(asked)},
            f"{what}ms to sum up for the display": {"value": summary},
        }
    )


if __name__ == "__main__":
    main()
