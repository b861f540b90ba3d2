"""Learning curves from a recorded study: a Gaussian process interpolates between the curves of its trials."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seg.errors import UserError
from seg.experiment import Experiment
from study.ranking.objective import Objective
from study.simulation.learning_curve import Curves, LearningCurve, ModelCurves, chance, places_of
from study.spec import Spec, from_json
from study.spec.conditions import flat
from study.spec.dimension import Range
from study.store.records import FormatError, Record, State, open_study, read_records, read_study
from study.trials.messages import Failure

# Shape suffixes: D dimensions, N trials, E epochs. The values of the Gaussian process are whole curves.

SCALES = (0.15, 0.3, 0.6, 1.2, 2.5, 5.0, 40.0)
"""Length scales tried for each dimension, whose range is 1. With the last one, the dimension does not matter."""
NOISES = (1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3)
"""Noise variances tried: the variance that the choices do not explain, relative to the variance that they do."""
SWEEPS = 3

MIN_WHOLE_TRIALS = 20
"""The minimum number of trials trained to the end that curves can be taken from."""
MODEL = "model"


@dataclass(frozen=True)
class Process:
    """A fitted Gaussian process over choices. All epochs share one kernel.

    A curve is the mean curve plus a sum of the fitted curves around it, weighted by how near their places are.
    """

    places_ND: np.ndarray
    """The places of the fitted trials, in [0, 1]."""
    categorical_D: np.ndarray
    """Whether a dimension is categorical: two of its values are either the same or not, with nothing in between."""
    scales_D: np.ndarray
    mean_E: np.ndarray
    weights_NE: np.ndarray
    noise_NE: np.ndarray
    """The residual of each fitted curve from the mean at its place, scaled to the size of the fitted noise."""

    def distances(self, place_D: np.ndarray, places_ND: np.ndarray) -> np.ndarray:
        """Return the squared distances, in units of the length scales."""
        return (_squares(place_D[None], places_ND, self.categorical_D)[0] / self.scales_D**2).sum(-1)

    def mean(self, place_D: np.ndarray) -> np.ndarray:
        kernel_N = np.exp(-self.distances(place_D, self.places_ND) / 2)
        return np.asarray(self.mean_E + kernel_N @ self.weights_NE)

    def noise(self, dice: np.random.Generator) -> np.ndarray:
        """Return the noise of a random fitted trial: a whole curve, so that epochs are correlated as in real trials."""
        return np.asarray(self.noise_NE[dice.integers(len(self.noise_NE))])


def fit(places_ND: np.ndarray, curves_NE: np.ndarray, categorical_D: np.ndarray) -> Process:
    """Fit length scales and noise by maximum likelihood, one after the other, in SWEEPS passes."""
    scales_D, noise = np.full(places_ND.shape[1], 1.2), 0.1
    centered_NE = curves_NE - curves_NE.mean(0)

    def likelihood(scales_D: np.ndarray, noise: float) -> float:
        return log_likelihood(matrix(places_ND, scales_D, categorical_D, noise), centered_NE)

    for _ in range(SWEEPS):
        for d in range(len(scales_D)):
            tried = [np.where(np.arange(len(scales_D)) == d, scale, scales_D) for scale in SCALES]
            scales_D = max(tried, key=lambda scales_D: likelihood(scales_D, noise))
        noise = max(NOISES, key=lambda noise: likelihood(scales_D, noise))
    weights_NE = np.linalg.solve(matrix(places_ND, scales_D, categorical_D, noise), centered_NE)
    variance_E = noise * (centered_NE * weights_NE).mean(0)
    noise_NE = weights_NE * np.sqrt(variance_E / (weights_NE**2).mean(0))
    return Process(places_ND, categorical_D, scales_D, curves_NE.mean(0), weights_NE, noise_NE)


def matrix(places_ND: np.ndarray, scales_D: np.ndarray, categorical_D: np.ndarray, noise: float) -> np.ndarray:
    """Return the (N, N) matrix of a squared exponential kernel of variance 1, with the noise on its diagonal."""
    distances_NN = (_squares(places_ND, places_ND, categorical_D) / scales_D**2).sum(-1)
    return np.asarray(np.exp(-distances_NN / 2) + noise * np.eye(len(places_ND)))


def log_likelihood(matrix_NN: np.ndarray, centered_NE: np.ndarray) -> float:
    """Return the log likelihood of all epochs, up to a constant (Rasmussen and Williams 2006, equation 5.8).

    Each epoch has the variance that maximizes its likelihood.
    """
    _, log_determinant = np.linalg.slogdet(matrix_NN)
    variance_E = (centered_NE * np.linalg.solve(matrix_NN, centered_NE)).mean(0)
    count, epochs = centered_NE.shape
    return float(-0.5 * (epochs * log_determinant + count * np.log(variance_E).sum()))


def _squares(one_MD: np.ndarray, other_ND: np.ndarray, categorical_D: np.ndarray) -> np.ndarray:
    """Return the squared differences, of shape (M, N, D)."""
    difference = np.abs(one_MD[:, None] - other_ND[None])
    return np.where(categorical_D, difference > 1e-9, difference) ** 2.0


class CurvesError(UserError):
    """The error that curves cannot be taken from a study. Its message is one line: what, where, what to do."""


@dataclass(frozen=True)
class Recorded:
    """The small part of a recorded trial that curves can be fitted to."""

    experiment: dict[str, Any]
    scores: list[float]
    """The objective by epoch; not of all epochs if the trial failed."""
    seconds: float
    """Mean seconds per epoch."""
    reason: str = ""
    """Why the trial failed, if it did."""


def recorded(records: Iterable[Record], objective: Objective) -> list[Recorded]:
    """Return the trials that were trained to the end or failed with a NaN.

    A trial that was stopped says nothing about its later epochs.
    """
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
    """Learning curves from the trials of a recorded study.

    An experiment's curve is the mean of a Gaussian process over the recorded curves, whose epochs share one kernel.
    This is a sum of recorded curves, weighted by how near their choices are: it has their shapes, and such curves
    cross where the recorded ones do. The residual of a random recorded trial is added, drawn anew for each experiment.
    It stands for the noise of seeds and epochs, with the right size and correlations.

    If the nearest recorded trial failed, the experiment fails too. Its seconds are those of the nearest trial. If the
    condition of a choice does not hold, the middle of its range counts.
    """

    def __init__(self, trials: list[Recorded], spec: Spec, epochs: int, seed: int):
        """Fit the curves. Raises CurvesError if fewer than MIN_WHOLE_TRIALS trials were trained to the end.

        `spec`: the spec of the recorded study. `epochs`: the number of epochs of a simulated trial, to which the
        curves are stretched.
        """
        whole = [trial for trial in trials if not trial.reason]
        if len(whole) < MIN_WHOLE_TRIALS:
            problem = f"{len(whole)} trials were trained to the end; at least {MIN_WHOLE_TRIALS} are needed"
            raise CurvesError(f"{problem}: record a study with early_stopping.scheduler=none")
        self._trials, self._seed = trials, seed
        self._dimensions = flat(spec)
        self._places_ND = np.array([self._place(Experiment.from_json(trial.experiment)) for trial in trials])
        whole_N = np.array([not trial.reason for trial in trials])
        quality_NE = np.array([_stretch(trial.scores, epochs) for trial in whole])
        if spec.objective.mode == "min":
            quality_NE = 1 - quality_NE
        self.process = fit(self._places_ND[whole_N], quality_NE, self._categorical())

    def course(self, experiment: Experiment) -> LearningCurve:
        dice = chance(self._seed, experiment)
        place_D = self._place(experiment)
        nearest = self._trials[int(np.argmin(self.process.distances(place_D, self._places_ND)))]
        quality_E = np.clip(self.expected(experiment) + self.process.noise(dice), 0.0, 1.0)
        seconds_E = nearest.seconds * dice.lognormal(0, 0.05, len(quality_E))
        if not nearest.reason:
            return LearningCurve(quality_E, seconds_E)
        failure = Failure(State.FAILED, nearest.reason, "simulated", lane_lives=True)
        return LearningCurve(quality_E, seconds_E, failure, fails_in=min(len(nearest.scores) + 1, len(quality_E)))

    def expected(self, experiment: Experiment) -> np.ndarray:
        """Return the experiment's curve without noise, by epoch."""
        return self.process.mean(self._place(experiment))

    def _place(self, experiment: Experiment) -> np.ndarray:
        found = places_of(experiment, self._dimensions)
        return np.array([found.get(name, 0.5) for name in self._dimensions])

    def _categorical(self) -> np.ndarray:
        return np.array([not isinstance(of, Range) for of in self._dimensions.values()])


def _stretch(scores: list[float], epochs: int) -> np.ndarray:
    """Stretch the scores to a run of `epochs`: a schedule has the same form over any number of epochs."""
    share = np.arange(1, len(scores) + 1) / len(scores)
    return np.interp(np.arange(1, epochs + 1) / epochs, share, scores)


def curves(source: str, spec: Spec, seed: int, failures: float) -> Curves:
    """Return learning curves. `source`: the word `model`, a study's `<storage>/<name>`, or a file written by `save`.

    `failures`: the share of failing trials, for the model only. Raises FileNotFoundError or CurvesError, with a
    one-line message, if there are no curves; FormatError and StoreError come from the store.
    """
    if source == MODEL:
        return ModelCurves(spec, seed, failures)
    try:
        of, trials = load(Path(source)) if source.endswith(".json") else of_study(source)
        return RecordedCurves(trials, of, spec.epochs, seed)
    except CurvesError as error:
        raise CurvesError(f"{source}: {error}") from error


def of_study(uri: str) -> tuple[Spec, list[Recorded]]:
    store = open_study(uri)
    with store.reached():
        spec = from_json(read_study(store)["spec"], source=f"{uri}/study.json")
        records = read_records(store)
    return spec, recorded(records, Objective(spec.objective.metric, spec.objective.mode))


def save(path: Path, spec: Spec, trials: Sequence[Recorded]) -> None:
    """Write the recorded trials that curves are fitted to, a few kilobytes, so that the study itself is not needed."""
    lines = [json.dumps(dataclasses.asdict(trial)) for trial in trials]
    path.write_text(f'{{"spec": {json.dumps(spec.to_json())},\n"trials": [\n' + ",\n".join(lines) + "\n]}\n")


def load(path: Path) -> tuple[Spec, list[Recorded]]:
    try:
        raw = json.loads(path.read_text())
        return from_json(raw["spec"], source=str(path)), [Recorded(**trial) for trial in raw["trials"]]
    except OSError as error:
        raise CurvesError(f"cannot be read ({error.strerror}); give a study, a file of curves, or model") from error
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{path}: is no file of learning curves ({error})") from error
