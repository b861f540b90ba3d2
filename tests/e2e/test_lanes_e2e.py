"""How Tune, under this project's searcher and schedulers, hands trials to lanes. The lanes here train nothing."""

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ray import cloudpickle, tune

from study.objective import Objective
from study.search import OptunaStudy, StudySearcher, scheduler
from study.spec import load_spec

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
        return {"epoch": self._epoch, "objective": 0.5, "process": os.getpid(), "done": self._epoch == 3}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize("stopping", ["none", "asha"])
def test_a_lane_that_is_added_comes_though_trials_end_faster_than_it_starts(
    stopping: str, ray_address: str, tmp_path: Path
) -> None:
    spec = load_spec("phantom", [f"early_stopping.scheduler={stopping}", f"trials={TRIALS}"])
    searcher = StudySearcher([], range(TRIALS), OptunaStudy(spec, seed=0), {}, lambda: 3 if grown(searcher) else 2)
    results = tune.Tuner(
        LaneOfNothing,
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=scheduler(spec, [], Objective("val_iou", "max")),
            num_samples=TRIALS,
            max_concurrent_trials=3,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            storage_path=str(tmp_path),
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    ).fit()
    by_lane = [[r for r in results if r.metrics["process"] == lane] for lane in {r.metrics["process"] for r in results}]
    assert len(results) == TRIALS and len(by_lane) == 3
    assert min(map(len, by_lane)) > 1, "a lane that was added ended with its first trial"


def grown(searcher: StudySearcher) -> bool:
    return len(searcher.proposals) > 3
