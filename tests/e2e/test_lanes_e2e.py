"""How Tune, under this project's searcher and schedulers, hands trials to lanes. The lanes here train nothing."""

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from own_specs import SEARCHED
from ray import cloudpickle, tune

from study.lanes.tune import Events, OneTrialPerLaneScheduler, Results, Trials
from study.ranking.objective import Objective
from study.search.search import Search
from study.spec import load_spec
from study.store import Store
from study.store.records import read_records
from study.trials.messages import EpochDone, LaneSettings, Report
from study.trials.recorder import Recorder

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # Ray's processes do not import tests

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

TRIALS = 50
STEP_SECONDS, START_SECONDS = 0.2, 3.0
"""A trial is much shorter than what a lane takes to start."""


class LaneOfNothing(tune.Trainable):
    """It says which process it is."""

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> tune.PlacementGroupFactory:
        return tune.PlacementGroupFactory([{"memory": 2.0**20}])

    def setup(self, config: dict[str, Any]) -> None:
        self.reset_config(config)
        if config["trial"] > 1:
            time.sleep(START_SECONDS)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._epoch = 0
        return True

    def step(self) -> dict[str, Any]:
        time.sleep(STEP_SECONDS)
        self._epoch += 1
        row = {"epoch": self._epoch, "val_iou": 0.5, "seconds": STEP_SECONDS, "images_per_second": 1.0}
        done = self._epoch == 3
        return {"report": Report(EpochDone(row), done), "process": os.getpid(), "done": done}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {}


def test_a_lane_that_is_added_comes_though_trials_end_faster_than_it_starts(ray_address: str, tmp_path: Path) -> None:
    spec = load_spec(SEARCHED, ["early_stopping.scheduler=none", f"trials={TRIALS}", "epochs=3"])
    store, search = Store(str(tmp_path / "study")), Search(spec, [])
    settings = LaneSettings(store.uri, "", None, Objective("val_iou", "max"), 1, 0.0, 1)
    recorder = Recorder(store, settings, [], search, lambda records: [], on_change=lambda record: None)
    trials = Trials(search, recorder, {}, lambda: 3 if len(trials.numbers) > 3 else 2)
    events = Events(recorder, trials.numbers, True, print)
    results = tune.Tuner(
        LaneOfNothing,
        tune_config=tune.TuneConfig(
            search_alg=trials,
            scheduler=OneTrialPerLaneScheduler(),
            num_samples=-1,
            max_concurrent_trials=3,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            storage_path=str(tmp_path),
            verbose=0,
            stop=Results(recorder, trials.numbers, events),
            callbacks=[events],
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    ).fit()
    recorder.close()
    by_lane = [[r for r in results if r.metrics["process"] == lane] for lane in {r.metrics["process"] for r in results}]
    assert len(results) == TRIALS and len(by_lane) == 3
    assert min(map(len, by_lane)) > 1, "a lane that was added ended with its first trial"
    assert [len(record.epochs) for record in read_records(store)] == [3] * TRIALS
