"""What Ray's dashboard and Prometheus show of a running study, by its name: best score, trials, lanes, pace."""

from collections.abc import Callable

from ray.util.metrics import Gauge

from study.progress import Tally
from study.records import Record, State


class Gauges:
    """`change` at every change of a record. Ray exports the values from every node, see `ray metrics`."""

    def __init__(self, study: str, tally: Tally, lanes: Callable[[], int]):
        self._study, self._tally, self._lanes = {"study": study}, tally, lanes
        self._best = Gauge("segstudy_best_score", f"best {tally.objective.metric} so far", ("study", "metric"))
        self._trials = Gauge("segstudy_trials", "trials in each state", ("study", "state"))
        self._room = Gauge("segstudy_lanes", "lanes that the machines hold now", ("study",))
        self._trial = Gauge("segstudy_lane_trial", "number of the trial that a lane is at", ("study", "lane"))
        self._pace = Gauge("segstudy_images_per_second", "of a lane, in training", ("study", "lane"))
        self._memory = Gauge("segstudy_gpu_memory_gib", "most that a lane's trial has held", ("study", "lane"))

    def change(self, record: Record) -> None:
        for state in (*State, "paused"):
            self._trials.set(self._tally.states[state], self._study | {"state": str(state)})
        self._room.set(self._lanes(), self._study)
        metric = self._tally.objective.metric
        if (best := self._tally.best) is not None:
            self._best.set(best.best[metric], self._study | {"metric": metric})
        if lane := record.extra.get("lane"):
            tags = self._study | {"lane": lane}
            self._trial.set(record.trial, tags)
            going = not record.state.ended  # a lane that is gone does not train for ever
            self._memory.set(record.extra.get("gpu_memory_gib", 0.0) * going, tags)
            if record.epochs:
                self._pace.set(record.epochs[-1]["images_per_second"] * going, tags)
