"""The most results a second that one study's process takes through Ray Tune, from lanes that train nothing.

    python tests/benchmarks/bench_driver.py [--lanes 2 4 8] [--epochs N] [--trials-per-lane N]

Everything else is a real study's: searcher, scheduler, records in a store on disk, display, gauges. Lanes and driver
share this machine's cores here; on a cluster the lanes are elsewhere, so the driver's own time is given too. From both
follows how many lanes of one-second epochs a study can feed.
"""

import argparse
import contextlib
import io
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import figures
from ray import cloudpickle, tune

from study.driver import conduct
from study.driver.plan import Plan
from study.driver.preparation import Prepared
from study.lanes import tune as lanes_tune
from study.lanes.cluster import ray_session
from study.lanes.resources import Allotment, Cluster, Machine
from study.spec import load_spec
from study.store import Store
from study.store.records import Record
from study.trials.messages import EpochDone, Report, Started

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # Ray's processes do not import benchmarks

SPEC = Path(__file__).parents[1] / "assets" / "specs" / "searched.yaml"
ROW = {"train_loss": 0.5, "train_iou": 0.5, "val_loss": 0.5, "val_dice": 0.6, "val_pixel_accuracy": 0.9}


class IdleLane(tune.Trainable):
    """An epoch takes no time."""

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        return tune.PlacementGroupFactory([{"memory": 2.0**20}])

    def setup(self, config: dict[str, Any]) -> None:
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._epoch, self._epochs = 0, new_config["experiment"]["epochs"]
        return True

    def step(self) -> dict[str, Any]:
        self._epoch += 1
        row = {"epoch": self._epoch, "val_iou": 1 - 1 / (1 + self._epoch), **ROW}
        row |= {"seconds": 1.0, "images_per_second": 1.0, "encoder_lr": 1e-4, "decoder_lr": 1e-3}
        done = self._epoch >= self._epochs
        started = Started("cpu", 1, 1, 0.0, {}) if self._epoch == 1 else None
        return {"report": Report(EpochDone(row), done, started, f"lane-{os.getpid()}"), "done": done}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {}


def plan(folder: Path, lanes: int, trials: int, epochs: int) -> Plan:
    overrides = ["early_stopping.scheduler=none", f"trials={trials}", f"epochs={epochs}", "finalists=0"]
    spec = load_spec(str(SPEC), overrides)
    packed: Any = type("Packed", (), {"folder": folder})()
    prepared = Prepared(folder, None, packed, Cluster((Machine(lanes, 0),)), Allotment(lanes, 1, 0.0, 1))
    return Plan(f"driver-{lanes}", spec, Store(str(folder / "study")), "", prepared)


def measure(lanes: int, trials: int, epochs: int) -> dict[str, float]:
    """Between the moment when every lane has reported and the end."""
    marks: list[tuple[int, float, float]] = []
    reported: set[str] = set()
    results = 0

    def changed(record: Record) -> None:
        nonlocal results
        results += 1
        reported.add(record.extra.get("lane", ""))
        if len(reported - {""}) == lanes:
            marks.append((results, time.perf_counter(), time.process_time()))

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        conduct.session.check = lambda plan, store: None  # type: ignore[assignment] # there is no study.json
        records = conduct._search(plan(Path(folder), lanes, trials, epochs), [], folder, changed)
    assert sum(len(record.epochs) for record in records) == trials * epochs
    (first, began, used), (last, ended, used_then) = marks[0], marks[-1]
    return {"per_second": (last - first) / (ended - began), "driver_ms": 1000 * (used_then - used) / (last - first)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lanes", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--trials-per-lane", type=int, default=3)
    given = parser.parse_args()
    lanes_tune.Lane = IdleLane  # type: ignore[assignment,misc]
    found = {}
    with ray_session(Cluster((Machine(max(given.lanes), 0),))):
        for lanes in given.lanes:
            found[lanes] = measure(lanes, lanes * given.trials_per_lane, given.epochs)
            print(f"{lanes} lanes: {found[lanes]}", flush=True)
    best = max(found, key=lambda lanes: found[lanes]["per_second"])
    figures.save(
        {
            "results a second through Ray, lanes and driver on this machine": {
                "value": found[best]["per_second"],
                "lanes": best,
                "by_lanes": found,
            },
            "ms of the driver's process a result through Ray": {"value": found[best]["driver_ms"]},
        }
    )


if __name__ == "__main__":
    main()
