"""Learning curves as a recorded study had them: those of its trials, and between them those of a Gaussian process."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from seg.experiment import Experiment
from study.conditions import flat
from study.dimension import Range
from study.messages import Failure
from study.objective import Objective
from study.records import Record, State
from study.simulation.course import Course, chance, places
from study.simulation.gaussian_process import fit
from study.spec import Spec

FEWEST = 20
"""Whole trials from which curves are taken."""


class CurvesError(Exception):
    """A study that curves cannot be taken from. One line: what, where, what to do."""


@dataclass(frozen=True)
class Recorded:
    """What is kept of a recorded trial: enough to fit curves to, and small."""

    experiment: dict[str, Any]
    scores: list[float]
    """The objective, epoch by epoch; fewer than all where the trial failed."""
    seconds: float
    """Of an epoch, in the mean."""
    reason: str = ""
    """Why it failed, if it did."""


def recorded(records: Iterable[Record], objective: Objective) -> list[Recorded]:
    """Of trials that were trained to the end, or failed: one that was stopped tells nothing of its later epochs."""
    kept = []
    for record in records:
        scores = [row[objective.metric] for row in record.epochs if objective.scored(row)]
        seconds = record.train_seconds / max(len(record.epochs), 1)
        if record.state is State.COMPLETE and len(scores) == record.experiment["epochs"]:
            kept.append(Recorded(record.experiment, scores, seconds))
        elif record.state is State.FAILED and "nan" in record.reason:
            kept.append(Recorded(record.experiment, scores, seconds, record.reason))
    return kept


class RecordedCurves:
    """The curve of an experiment is the mean of a Gaussian process over the recorded ones, all epochs of which share
    one kernel: a sum of recorded curves, weighted by how near their choices are, so that it has their shapes, and they
    cross where those do. To it comes what a recorded trial had beyond its own mean, drawn anew for each experiment: the
    noise of seeds and epochs, in its size and with its correlations. Where the nearest recorded trial failed, so does
    this one.

    Choices that exist only under a condition count as the middle of their range where they do not. Seconds are the
    nearest trial's.
    """

    def __init__(self, trials: list[Recorded], spec: Spec, epochs: int, seed: int):
        """`spec`: of the recorded study. `epochs`: of the trials to simulate; the curves are stretched to them.
        CurvesError where too few trials were trained to the end."""
        whole = [trial for trial in trials if not trial.reason]
        if len(whole) < FEWEST:
            problem = f"{len(whole)} trials were trained to the end; at least {FEWEST} are needed"
            raise CurvesError(f"{problem}: record a study with early_stopping.scheduler=none")
        self._trials, self._seed = trials, seed
        self._dimensions = flat(spec)
        self._places_ND = np.array([self._place(Experiment.from_json(trial.experiment)) for trial in trials])
        whole_N = np.array([not trial.reason for trial in trials])
        quality_NE = np.array([_stretch(trial.scores, epochs) for trial in whole])
        if spec.objective.mode == "min":
            quality_NE = 1 - quality_NE
        self.process = fit(self._places_ND[whole_N], quality_NE, self._categorical())

    def course(self, experiment: Experiment) -> Course:
        dice = chance(self._seed, experiment)
        place_D = self._place(experiment)
        nearest = self._trials[int(np.argmin(self.process.distances(place_D, self._places_ND)))]
        quality_E = np.clip(self.expected(experiment) + self.process.noise(dice), 0.0, 1.0)
        seconds_E = nearest.seconds * dice.lognormal(0, 0.05, len(quality_E))
        if not nearest.reason:
            return Course(quality_E, seconds_E)
        failure = Failure(State.FAILED, nearest.reason, "simulated", lane_lives=True)
        return Course(quality_E, seconds_E, failure, fails_in=min(len(nearest.scores) + 1, len(quality_E)))

    def expected(self, experiment: Experiment) -> np.ndarray:
        """Its curve without noise, by epoch."""
        return self.process.mean(self._place(experiment))

    def _place(self, experiment: Experiment) -> np.ndarray:
        found = places(experiment, self._dimensions)
        return np.array([found.get(name, 0.5) for name in self._dimensions])

    def _categorical(self) -> np.ndarray:
        return np.array([not isinstance(of, Range) for of in self._dimensions.values()])


def _stretch(scores: list[float], epochs: int) -> np.ndarray:
    """At the same share of the whole run: a schedule has the same form over any number of epochs."""
    share = np.arange(1, len(scores) + 1) / len(scores)
    return np.interp(np.arange(1, epochs + 1) / epochs, share, scores)
