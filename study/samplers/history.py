"""What the search knows of its trials: the experiments, how far each got, and how good it was by then."""

import json
import math
from bisect import bisect_left, insort
from collections import Counter
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from seg.experiment import Experiment
from study import objective, pareto, space
from study.records import Record, State
from study.spec import Spec

ENDS = {State.COMPLETE: TrialState.COMPLETE, State.FAILED: TrialState.FAIL, State.INFEASIBLE: TrialState.FAIL}
"""Of a record, as Optuna calls them. PRUNED, and paused, is all else."""
Place = tuple[float, float, int]


class History:
    """Trials by their numbers, as Optuna takes them. Its own number of one is ours plus one: 0 is the one asked for.

    A trial's value is its best score up to its last epoch, the one that rungs and leaderboard compare.
    """

    def __init__(self, spec: Spec):
        self._spec = spec
        self._objective = spec.objective
        self._sign = 1.0 if spec.objective.mode == "max" else -1.0
        self.trials: dict[int, FrozenTrial] = {}
        """Those that the search could have proposed; a running one has no values."""
        self.scores: dict[int, list[float]] = {}
        """The best so far, epoch by epoch, as the objective has it; none of what failed."""
        self._best: list[Place] = []
        self._places: dict[int, Place] = {}
        self._seen: Counter[str] = Counter()

    def begin(self, trial: int, experiment: Experiment) -> None:
        """A trial runs from now on."""
        if trial in self.trials:
            return  # it goes on: what is known of it stands until there is more
        self._seen[_key(experiment)] += 1
        if (told := space.told(experiment, self._spec)) is not None:
            self._put(trial, told, TrialState.RUNNING, [], None)

    def tell(self, record: Record) -> None:
        """A trial has ended, or is paused."""
        experiment = Experiment.from_json(record.experiment)
        self.begin(record.trial, experiment)
        if record.trial not in self.trials:
            return
        before = self.trials[record.trial]
        state = ENDS.get(record.state, TrialState.PRUNED)
        values = objective.values(record, self._spec.objectives) if state is not TrialState.FAIL else None
        scores = self._scores(record) if values else []
        state = state if scores else TrialState.FAIL
        self._put(record.trial, (before.params, before.distributions), state, scores, values)

    def times(self, experiment: Experiment) -> int:
        """How often it has been begun, whatever its seed."""
        return self._seen[_key(experiment)]

    def ordered(self) -> list[int]:
        """Trials with a score, the best first: TPE's order, in which a finished trial comes before one that is not, and
        one with more epochs before one with fewer."""
        return [trial for _, _, trial in self._best]

    def best(self, count: int) -> list[int]:
        """The first `count` of that order. With several objectives, of the finished trials whole fronts one after the
        other until there are so many: which of the last one are good is TPE's own choice."""
        if len(self._spec.objectives) == 1:
            return self.ordered()[:count]
        left = np.array([number for number, t in self.trials.items() if t.state is TrialState.COMPLETE], int)
        signs = [one.sign for one in self._spec.objectives]
        points = np.array([self.trials[number].values for number in left], float).reshape(-1, len(signs)) * signs
        found: list[int] = []
        while len(left) and len(found) < count:
            on_front = pareto.front(points)
            found += left[on_front].tolist()
            left, points = left[~on_front], points[~on_front]
        return found

    def _scores(self, record: Record) -> list[float]:
        """Until the last epoch that has a score; empty where none has."""
        found: list[float] = []
        for row in record.epochs:
            if self._objective.scored(row):
                value = row[self._objective.metric]
                best = value if not found or self._objective.better(value, found[-1]) else found[-1]
                found += [best] * (row["epoch"] - len(found))
        return found

    def _put(
        self, trial: int, told: space.Told, state: TrialState, scores: list[float], values: list[float] | None
    ) -> None:
        several = len(self._spec.objectives) > 1  # of which Optuna takes no intermediate values
        intermediate = {} if several or not scores else {len(scores): scores[-1]}
        frozen = _frozen(told, state, values, intermediate)
        frozen.number = trial + 1
        self.trials[trial], self.scores[trial] = frozen, scores
        if (old := self._places.pop(trial, None)) is not None:
            del self._best[bisect_left(self._best, old)]
        if scores:
            epochs = math.inf if state is TrialState.COMPLETE else len(scores)
            self._places[trial] = (-epochs, -self._sign * scores[-1], trial)
            insort(self._best, self._places[trial])


def _frozen(
    told: space.Told, state: TrialState, values: list[float] | None, intermediate: dict[int, float]
) -> FrozenTrial:
    """What failed is told as pruned at once, and as a constraint violated: so Optuna's samplers keep clear of it,
    where they would not hear of a FAIL."""
    failed = state is TrialState.FAIL
    params, distributions = told
    return optuna.trial.create_trial(
        params=params,
        distributions=distributions,
        state=TrialState.PRUNED if failed else state,
        values=values if state is TrialState.COMPLETE else None,
        intermediate_values=intermediate,
        constraints={"ends well": 1.0} if failed else None,
    )


def _key(experiment: Experiment) -> str:
    choices: dict[str, Any] = experiment.to_json()
    del choices["seed"]
    return json.dumps(choices, sort_keys=True)
