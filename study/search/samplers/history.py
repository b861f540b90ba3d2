"""The history of a search: each trial's experiment, how far it got, and how good it was by then."""

import json
import math
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Container, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from seg.experiment import Experiment
from study.ranking import objective, pareto
from study.search import space
from study.search.space import directions
from study.spec import Spec
from study.store.records import Record, State

ENDS = {State.COMPLETE: TrialState.COMPLETE, State.FAILED: TrialState.FAIL, State.INFEASIBLE: TrialState.FAIL}
"""Optuna's counterparts of final states. Any other trial that is not running, even a paused one, is PRUNED."""
Place = tuple[float, float, int]


class History:
    """Trials by number, in Optuna's form. Optuna's number of a trial is ours plus one: 0 is the trial being asked for.

    A trial's value is its best score up to its last epoch, which rungs and the leaderboard also compare.
    """

    def __init__(self, spec: Spec):
        self._spec = spec
        self._objective = spec.objective
        self._sign = 1.0 if spec.objective.mode == "max" else -1.0
        self.trials: dict[int, FrozenTrial] = {}
        """The trials that the search could have proposed. A running one has no values."""
        self.scores: dict[int, list[float]] = {}
        """Each trial's best value of the objective up to each epoch; empty if the trial failed."""
        self._best: list[Place] = []
        self._places: dict[int, Place] = {}
        self._seen: Counter[str] = Counter()

    def begin(self, trial: int, experiment: Experiment) -> None:
        """Note that a trial runs from now on."""
        if trial in self.trials:
            return  # it goes on: keep what is known of it until there is more
        self._seen[_key(experiment)] += 1
        if (given := space.optuna_values(experiment, self._spec)) is not None:
            self._put(trial, given, TrialState.RUNNING, [], None)

    def tell(self, record: Record) -> None:
        """Note that a trial has ended or is paused."""
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
        """Return how often the experiment has been begun, with any seed."""
        return self._seen[_key(experiment)]

    def ordered(self) -> list[int]:
        """Return the trials with a score, the best first, in TPE's order.

        In that order, a finished trial comes before an unfinished one, and more epochs come before fewer.
        """
        return [trial for _, _, trial in self._best]

    def best(self, count: int) -> list[int]:
        """Return the first `count` trials of `ordered`.

        With several objectives, return whole Pareto fronts of the finished trials until there are at least `count`.
        TPE itself chooses which trials of the last front are good.
        """
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
        """Return the best score so far, for each epoch up to the last one with a score; empty if no epoch has one."""
        found: list[float] = []
        for row in record.epochs:
            if self._objective.scored(row):
                value = row[self._objective.metric]
                best = value if not found or self._objective.better(value, found[-1]) else found[-1]
                found += [best] * (row["epoch"] - len(found))
        return found

    def _put(
        self,
        trial: int,
        given: space.OptunaValues,
        state: TrialState,
        scores: list[float],
        values: list[float] | None,
    ) -> None:
        several = len(self._spec.objectives) > 1  # Optuna takes no intermediate values for several objectives
        intermediate = {} if several or not scores else {len(scores): scores[-1]}
        frozen = _frozen(given, state, values, intermediate)
        frozen.number = trial + 1
        self.trials[trial], self.scores[trial] = frozen, scores
        if (old := self._places.pop(trial, None)) is not None:
            del self._best[bisect_left(self._best, old)]
        if scores:
            epochs = math.inf if state is TrialState.COMPLETE else len(scores)
            self._places[trial] = (-epochs, -self._sign * scores[-1], trial)
            insort(self._best, self._places[trial])


def _frozen(
    given: space.OptunaValues, state: TrialState, values: list[float] | None, intermediate: dict[int, float]
) -> FrozenTrial:
    """Return the trial in Optuna's form.

    A failed trial becomes one that was pruned at once and violates a constraint. Optuna's samplers then avoid it; they
    would ignore the state FAIL.
    """
    failed = state is TrialState.FAIL
    params, distributions = given
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


class _Shown(InMemoryStorage):
    """A storage that also returns the shown trials, without copying them: Optuna only reads them."""

    def __init__(self, trials: Sequence[FrozenTrial]):
        super().__init__()
        self._shown = trials

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        asked = super().get_all_trials(study_id, deepcopy, states)
        return [trial for trial in self._shown if states is None or trial.state in states] + asked


def ask(sampler: BaseSampler, spec: Spec, shown: Sequence[FrozenTrial]) -> optuna.Trial:
    """Return trial number 0 of a new study that also contains the trials `shown`."""
    return optuna.create_study(storage=_Shown(shown), sampler=sampler, directions=directions(spec)).ask()
