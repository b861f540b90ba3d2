"""A simulated study from its spec to its checks."""

import platform
import time
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.metadata import version
from typing import Any

from study import leaders, replicates
from study.messages import LaneSettings
from study.progress import Tally, duration
from study.proposal import Proposal
from study.recorder import Recorder
from study.records import FORMAT, now, read_records
from study.search import Search
from study.simulation.clock import VirtualClock
from study.simulation.course import Curves
from study.simulation.faults import Faults
from study.simulation.invariants import Watch, violations
from study.simulation.lanes import Lanes
from study.spec import Spec
from study.store import Store, encode_json

MARKS = 20
"""Parts of a study, by trials ended, whose time is told apart."""


class SimulatedStudy:
    """`events` runs it, one event at a time; `finish` writes the rest and checks what is there."""

    def __init__(self, spec: Spec, store: Store, curves: Curves, lanes: int, faults: Faults, source: str = "model"):
        self._spec, self.store, self._count, self._source = spec, store, lanes, source
        objective = spec.objective
        self._clock, self._watch = VirtualClock(), Watch(spec)
        self.tally = Tally(spec.trials, lanes, objective, replicates=replicates.most(spec))
        settings = LaneSettings(store.uri, "", None, objective, spec.resources.workers_per_trial, 0.0, threads=1)
        search = Search(spec, [], on_replicates=self._replicates)
        top, compare = spec.finalists.top, spec.compare
        contenders = partial(leaders.contenders, objectives=spec.objectives, count=top, compare=compare)
        self.recorder = Recorder(store, settings, [], search, contenders, self._changed, now=self._clock.now)
        self.lanes = Lanes(search, self.recorder, curves, objective, lanes, self._clock, faults, spec.seed)
        self.marks: list[tuple[int, float]] = [(0, time.perf_counter())]
        """Results, and the time by then, whenever so many more trials have ended."""

    def _replicates(self, left: Sequence[Proposal]) -> None:
        for each in (self.tally, self._watch):
            each.replicates(proposal.trial for proposal in left)

    def _changed(self, record: Any) -> None:
        self.tally.update(record)
        self._watch.change(record)

    def create(self) -> bool:
        """study.json. False where there is a study of this name."""
        return self.store.create("study.json", encode_json(self._describe(created=now())))

    def events(self) -> Iterator[None]:
        for _ in self.lanes.events():
            self._watch.look(self.lanes, self._clock.seconds)
            if self.tally.ended * MARKS >= len(self.marks) * self._spec.trials:
                self.marks.append((self.lanes.results, time.perf_counter()))
            yield

    def finish(self) -> list[str]:
        """What is wrong, a line each."""
        self.recorder.close()
        study = self.store.read_json("study.json")
        self.store.write_json("study.json", self._describe(study["created"], finished=now()))
        return [*self._watch.violations(), *violations(read_records(self.store), self._spec)]

    def summary(self) -> str:
        return f"{self.tally.summary()}; {duration(self._clock.seconds)} on {self._count} lanes"

    def costs(self) -> str:
        """Of the lanes, and of this process for each result."""
        used = self.lanes.busy_seconds / max(self._clock.seconds * self._count, 1e-9)
        text = f"lanes trained {used:.0%} of the time; {self.lanes.losses} nodes were lost"
        seconds = self.marks[-1][1] - self.marks[0][1]
        each = 1000 * seconds / max(self.marks[-1][0], 1)
        text += f"\nthis process: {duration(seconds)}, {self.lanes.results} results, {each:.2f} ms each"
        parts = self.milliseconds()
        return text + (f" (first {parts[0]:.2f}, last {parts[-1]:.2f})" if len(parts) > 1 else "")

    def milliseconds(self) -> list[float]:
        """Of this process a result, in each part of the study."""
        pairs = zip(self.marks, self.marks[1:], strict=False)
        return [1000 * (b[1] - a[1]) / (b[0] - a[0]) for a, b in pairs if b[0] > a[0]]

    def _describe(self, created: str, finished: str = "") -> dict[str, Any]:
        """As study.session.describe has it of a real study, but for what there is none of."""
        return {
            "format": FORMAT,
            "name": self.store.uri.rpartition("/")[2],
            "created": created,
            "finished": finished,
            "command": "python -m study.simulate",
            "simulated": {"curves": self._source, "lanes": self._count},
            "spec": self._spec.to_json(),
            "dataset": {
                "name": f"simulated {self._spec.dataset}",
                "synthetic": True,
                "remark": "SIMULATED: nothing was trained",
                "class_names": ["background", "object"],
                "images": {"train": 0, "val": 0, "test": 0},
                "pack": "",
            },
            "machine": {"cpus": 0, "gpus": 0, "nodes": 0, "host": platform.node()},
            "places": {"data": "", "weights": None},
            "software": {name: version(name) for name in ("optuna", "numpy")} | {"python": platform.python_version()},
        }
