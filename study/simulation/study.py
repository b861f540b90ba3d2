"""A simulated study, from its spec to the checks of its records."""

import platform
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from importlib.metadata import version
from typing import Any

from seg.cli import duration
from study.ranking import leaders
from study.search import replicates
from study.search.search import Search
from study.search.searcher import Proposal
from study.simulation.lanes import Faults, Lanes, VirtualClock
from study.simulation.learning_curve import Curves
from study.spec import Spec
from study.store import Store, encode_json
from study.store.records import FORMAT, Record, State, now, read_records
from study.trials.messages import LaneSettings
from study.trials.recorder import Recorder
from study.trials.tally import Tally

MARKS = 20
"""The number of parts of a study, by ended trials, whose time is measured separately."""


class SimulatedStudy:
    """A simulated study: `events` runs it, one event at a time; `finish` writes the rest and checks the records."""

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
        """The number of results and the time at the end of each part, beginning with 0 results."""

    def _replicates(self, left: Sequence[Proposal]) -> None:
        for each in (self.tally, self._watch):
            each.replicates(proposal.trial for proposal in left)

    def _changed(self, record: Any) -> None:
        self.tally.update(record)
        self._watch.change(record)

    def create(self) -> bool:
        """Write study.json. Return False if a study of this name exists."""
        return self.store.create("study.json", encode_json(self._describe(created=now())))

    def events(self) -> Iterator[None]:
        for _ in self.lanes.events():
            self._watch.look(self.lanes, self._clock.seconds)
            if self.tally.ended * MARKS >= len(self.marks) * self._spec.trials:
                self.marks.append((self.lanes.results, time.perf_counter()))
            yield

    def finish(self) -> list[str]:
        """Write the rest of the study, and return each violation as a line."""
        self.recorder.close()
        study = self.store.read_json("study.json")
        self.store.write_json("study.json", self._describe(study["created"], finished=now()))
        return [*self._watch.violations(), *violations(read_records(self.store), self._spec)]

    def summary(self) -> str:
        return f"{self.tally.summary()}; {duration(self._clock.seconds)} on {self._count} lanes"

    def costs(self) -> str:
        """Return how busy the lanes were, and how long this process took for each result."""
        used = self.lanes.busy_seconds / max(self._clock.seconds * self._count, 1e-9)
        text = f"lanes trained {used:.0%} of the time; {self.lanes.losses} nodes were lost"
        seconds = self.marks[-1][1] - self.marks[0][1]
        each = 1000 * seconds / max(self.marks[-1][0], 1)
        text += f"\nthis process: {duration(seconds)}, {self.lanes.results} results, {each:.2f} ms each"
        parts = self.milliseconds()
        return text + (f" (first {parts[0]:.2f}, last {parts[-1]:.2f})" if len(parts) > 1 else "")

    def milliseconds(self) -> list[float]:
        """Return this process's milliseconds per result, for each part of the study."""
        pairs = zip(self.marks, self.marks[1:], strict=False)
        return [1000 * (b[1] - a[1]) / (b[0] - a[0]) for a, b in pairs if b[0] > a[0]]

    def _describe(self, created: str, finished: str = "") -> dict[str, Any]:
        """Return study.json as study.driver.session.describe does for a real study, without what a simulation lacks."""
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


class Watch:
    """An independent count of ended trials and idle lanes, from record changes and lanes, not from the search."""

    def __init__(self, spec: Spec):
        self._trials = set(range(spec.trials))
        """The trials of the search, and once it has ended the replicates too."""
        self._begun: set[int] = set()
        self._ended: Counter[int] = Counter()
        self._idle: list[float] = []

    def change(self, record: Record) -> None:
        self._begun.add(record.trial)
        self._ended[record.trial] += record.state.ended

    def replicates(self, trials: Iterable[int]) -> None:
        """Add the replicates, which follow once the search has ended."""
        self._trials.update(trials)

    def look(self, lanes: Lanes, seconds: float) -> None:
        """Note an idle lane; call this after each event.

        A free lane is idle if a trial waits that has not begun or whose node was lost.
        """
        if lanes.free and (lanes.lost or len(self._begun) < len(self._trials)):
            self._idle.append(seconds)

    def violations(self) -> Iterator[str]:
        for trial in sorted(self._trials):
            if (times := self._ended[trial]) != 1:
                yield f"trial {trial} came to an end {times} times"
        for seconds in self._idle:
            yield f"a lane was idle at {seconds:.0f} s while trials waited"


def violations(records: list[Record], spec: Spec) -> Iterator[str]:
    """Yield each violation in the records of a study that has ended."""
    again = replicates.left(spec, [record for record in records if record.replicate_of is None])
    expected = [*range(spec.trials), *sorted(proposal.trial for proposal in again)]
    if (found := [record.trial for record in records]) != expected:
        yield f"{len(found)} records, not one of each of {len(expected)} trials"
    for record in records:
        yield from _of_one(record)


def _of_one(record: Record) -> Iterator[str]:
    epochs = [row["epoch"] for row in record.epochs]
    if epochs != list(range(1, len(epochs) + 1)):
        yield f"trial {record.trial} has epochs {epochs}: each must be there once, in order"
    if not record.state.ended or record.paused_at or not record.finished:
        yield f"trial {record.trial} has not ended: {record.standing}"
    whole = len(epochs) == record.experiment["epochs"]
    if whole != (record.state is State.COMPLETE) and record.state in (State.COMPLETE, State.PRUNED):
        yield f"trial {record.trial} is {record.state} with {len(epochs)} of {record.experiment['epochs']} epochs"
    if record.state in (State.FAILED, State.INFEASIBLE) and not record.reason:
        yield f"trial {record.trial} is {record.state} without a reason"
