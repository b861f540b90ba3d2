"""The searcher (Optuna's TPE) and the early stopping by rungs (ASHA), as Tune takes them.

Both start from a study's records, so that a resumed study searches on with all it had learned.
"""

import copy
import hashlib
import warnings
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Protocol

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from seg.experiment import Experiment
from study import objective, space
from study.objective import Objective
from study.records import Record, State
from study.spec import Spec

OUTCOMES = {State.COMPLETE: TrialState.COMPLETE, State.PRUNED: TrialState.PRUNED}
"""What Optuna is told of a trial with a score; every other end is a FAIL, which is never a score."""


@dataclass(frozen=True)
class Proposal:
    """The next trial to run. `record` is there where it goes on from one already begun."""

    trial: int
    source: str
    experiment: Experiment
    record: Record | None = None


class Asked(Protocol):
    """What proposes trials, and learns of every one that has ended."""

    def ask(self, trial: int) -> Experiment: ...

    def tell(self, record: Record) -> None: ...


class OptunaStudy:
    """Optuna's view of a study: asked for proposals, told of every ended trial, whoever proposed it."""

    def __init__(self, spec: Spec, seed: int):
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)  # multivariate, group
        self._spec = spec
        self._seed = seed
        self._study = optuna.create_study(directions=directions(spec))
        self._asked: dict[int, optuna.Trial] = {}

    def ask(self, trial: int) -> Experiment:
        """What is proposed follows from the seed, the trial's number and what is known by then: a study that was
        interrupted proposes what it would have proposed without."""
        seed = int.from_bytes(hashlib.sha256(f"{self._seed}/{trial}".encode()).digest()[:4])
        self._study.sampler = optuna.samplers.TPESampler(multivariate=True, group=True, constant_liar=True, seed=seed)
        asked = self._study.ask()
        asked.set_user_attr("trial", trial)
        self._asked[trial] = asked
        return space.suggest(asked, self._spec)

    def tell(self, record: Record) -> None:
        """An ended trial: its intermediate values, its state, and its scores where it has them."""
        scores = objective.values(record, self._spec.objectives)
        state = OUTCOMES.get(record.state, TrialState.FAIL) if scores else TrialState.FAIL
        values = self._values(record)
        if asked := self._asked.pop(record.trial, None):
            for epoch, value in values.items():
                asked.report(value, epoch)
            self._study.tell(asked, scores if state == TrialState.COMPLETE else None, state)
        elif (frozen := self._frozen(record, state, scores)) is not None:
            self._study.add_trial(frozen)

    def _frozen(self, record: Record, state: TrialState, scores: list[float] | None) -> FrozenTrial | None:
        """None where the experiment lies outside the search space: it teaches the sampler nothing."""
        told = space.told(Experiment.from_json(record.experiment), self._spec)
        if told is None:
            return None
        params, distributions = told
        values = self._values(record)
        # A pruned trial's value is its last intermediate one, as Study.tell has it.
        told_values = {TrialState.COMPLETE: scores, TrialState.PRUNED: list(values.values())[-1:] or None}
        return optuna.trial.create_trial(
            params=params,
            distributions=distributions,
            state=state,
            values=told_values.get(state),
            intermediate_values=values,
            user_attrs={"trial": record.trial},
        )

    def _values(self, record: Record) -> dict[int, float]:
        """By epoch; none where there are several objectives, of which Optuna takes no intermediate values."""
        if len(self._spec.objectives) > 1:
            return {}
        one = self._spec.objective
        return {row["epoch"]: row[one.metric] for row in record.epochs if one.scored(row)}


def directions(spec: Spec) -> list[StudyDirection]:
    """Of each objective."""
    by_mode = {"max": StudyDirection.MAXIMIZE, "min": StudyDirection.MINIMIZE}
    return [by_mode[one.mode] for one in spec.objectives]


class StudySearcher(Searcher):
    """Hands Tune the running trials of an earlier session first, then the baselines, then what Optuna proposes."""

    def __init__(
        self,
        given: Iterable[Proposal],
        free: Iterable[int],
        optuna_study: Asked,
        config: dict[str, Any],
        lanes: Callable[[], int],
        room: Callable[[], bool] = lambda: True,
    ):
        """`free`: the numbers of the trials to propose. `lanes`: how many trials may run now. `room`: whether the
        study's budget holds one more; once it does not, no other is begun."""
        super().__init__()
        self._given, self._free = deque(given), deque(free)
        self._optuna, self._config, self._lanes, self._room = optuna_study, config, lanes, room
        self._running: set[str] = set()
        self.proposals: dict[str, Proposal] = {}
        """By Tune's trial id."""
        self.on_proposal: Callable[[str, Proposal], None] = lambda tune_id, proposal: None

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: the study's records are the searcher's state, and Tune's copy of it is never used."""
        return {}

    def suggest(self, trial_id: str) -> Any:
        """The next trial's config, None while every lane has one, or Searcher.FINISHED, a text that the base class does
        not declare."""
        begun = bool(self._given and self._given[0].record)
        if not (self._given or self._free):
            return Searcher.FINISHED
        if len(self._running) >= self._lanes():
            return None
        if not begun and not self._room():
            return Searcher.FINISHED
        proposal = self._propose()
        self._running.add(trial_id)
        self.proposals[trial_id] = proposal
        self.on_proposal(trial_id, proposal)
        return self._config | {"trial": proposal.trial, "experiment": proposal.experiment.to_json()}

    def _propose(self) -> Proposal:
        if self._given:
            return self._given.popleft()
        trial = self._free.popleft()
        return Proposal(trial, "search", self._optuna.ask(trial))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The recorder tells Optuna, from the record, once the trial's end is written."""
        self._running.discard(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: see __getstate__."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see __getstate__."""


class EachItsLane(TrialScheduler):
    """A trial whose lane is starting keeps that lane: Tune's own choice of what runs next would hand it the first lane
    that is free, and end the new one. Where trials end faster than a lane starts, no lane would ever be added."""

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """Nothing, so that Tune takes trials in their order: the next one gets the free lane."""


class AllEpochs(EachItsLane, FIFOScheduler):
    """No early stopping."""

    def stops(self, record: Record) -> bool:
        return False


class Rungs(EachItsLane, ASHAScheduler):
    """ASHA (Li et al. 2020, arXiv:1810.05934) on the reported epoch and the best of the first objective so far."""

    def __init__(self, spec: Spec):
        stopping = spec.early_stopping
        super().__init__(
            time_attr="epoch",
            metric="objective",
            mode=spec.objective.mode,
            max_t=spec.epochs,
            grace_period=stopping.min_epochs,
            reduction_factor=stopping.reduction_factor,
        )
        self._objective = spec.objective
        self._sign = 1.0 if spec.objective.mode == "max" else -1.0

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """A trial that is taken up again brings along the epochs that its checkpoint has behind it."""
        started = result.get("started")
        if started and self.remember(trial.trial_id, started.rows, self._objective) == TrialScheduler.STOP:
            return str(TrialScheduler.STOP)  # it was killed at a rung, before anybody judged it there
        return super().on_trial_result(tune_controller, trial, result)

    def stops(self, record: Record) -> bool:
        """Whether a trial, of which nothing is remembered, is to end after its last epoch so far."""
        rows, asked = record.epochs, copy.deepcopy(self)
        return bool(rows) and asked.remember("asked", rows, self._objective) == TrialScheduler.STOP

    def remember(self, key: str, rows: list[dict[str, Any]], objective: Objective) -> str:
        """Fill the rungs with epochs run before; `key` is the trial's id now. The decision after the last of them."""
        trial: Any = SimpleNamespace(trial_id=key)
        decision = TrialScheduler.CONTINUE
        for done in range(1, len(rows) + 1):
            best = objective.best_row(rows[:done])
            if best is None:
                continue
            for bracket in self._brackets:
                decision = bracket.on_result(trial, rows[done - 1]["epoch"], self._sign * best[objective.metric])
        return decision


def scheduler(spec: Spec, ended: list[Record], objective: Objective) -> AllEpochs | Rungs:
    """As the spec says; knows the rungs of the trials that ended in an earlier session."""
    if spec.early_stopping.scheduler == "none":
        return AllEpochs()
    rungs = Rungs(spec)
    for record in ended:
        rungs.remember(f"earlier-{record.trial}", record.epochs, objective)
    return rungs
