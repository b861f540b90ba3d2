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
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from seg.experiment import Experiment
from study import space
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
    replicate_of: int | None = None


class OptunaStudy:
    """Optuna's view of a study: asked for proposals, told of every ended trial, whoever proposed it."""

    def __init__(self, spec: Spec, seed: int):
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)  # multivariate, group
        direction = StudyDirection.MAXIMIZE if spec.objective.mode == "max" else StudyDirection.MINIMIZE
        self._spec = spec
        self._objective = Objective(spec.objective.metric, spec.objective.mode)
        self._seed = seed
        self._study = optuna.create_study(direction=direction)
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
        """An ended trial: its intermediate values, its state, and its score where it has one."""
        values = self._values(record)
        state = OUTCOMES.get(record.state, TrialState.FAIL) if values else TrialState.FAIL
        if asked := self._asked.pop(record.trial, None):
            for epoch, value in values.items():
                asked.report(value, epoch)
            self._study.tell(asked, self._score(record) if state == TrialState.COMPLETE else None, state)
        elif (frozen := self._frozen(record, state, values)) is not None:
            self._study.add_trial(frozen)

    def _frozen(self, record: Record, state: TrialState, values: dict[int, float]) -> FrozenTrial | None:
        """None where the experiment lies outside the search space: it teaches the sampler nothing."""
        told = space.told(Experiment.from_json(record.experiment), self._spec)
        if told is None:
            return None
        params, distributions = told
        # A pruned trial's value is its last intermediate one, as Study.tell has it.
        scores = {TrialState.COMPLETE: self._score(record), TrialState.PRUNED: next(reversed(values.values()), None)}
        return optuna.trial.create_trial(
            params=params,
            distributions=distributions,
            state=state,
            value=scores.get(state),
            intermediate_values=values,
            user_attrs={"trial": record.trial},
        )

    def _values(self, record: Record) -> dict[int, float]:
        return {row["epoch"]: row[self._objective.metric] for row in record.epochs if self._objective.scored(row)}

    def _score(self, record: Record) -> float | None:
        return record.best.get(self._objective.metric)


class StudySearcher(Searcher):
    """Hands Tune the running trials of an earlier session first, then the baselines, then what Optuna proposes, and
    once all of these have ended what `afterwards` gives."""

    def __init__(
        self,
        given: Iterable[Proposal],
        free: Iterable[int],
        optuna_study: OptunaStudy,
        config: dict[str, Any],
        lanes: Callable[[], int],
        afterwards: Callable[[], Iterable[Proposal]] | None = None,
    ):
        """`free`: the numbers of the trials to propose. `lanes`: how many trials may run now."""
        super().__init__()
        self._given, self._free = deque(given), deque(free)
        self._optuna, self._config, self._lanes, self._afterwards = optuna_study, config, lanes, afterwards
        self._running: set[str] = set()
        self.proposals: dict[str, Proposal] = {}
        """By Tune's trial id."""
        self.on_proposal: Callable[[str, Proposal], None] = lambda tune_id, proposal: None

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: the study's records are the searcher's state, and Tune's copy of it is never used."""
        return {}

    def suggest(self, trial_id: str) -> Any:
        """The next trial's config, None while every lane has one or those that run are waited for, or
        Searcher.FINISHED, a text that the base class does not declare."""
        if not (self._given or self._free) and self._afterwards:
            if self._running:
                return None
            self._given.extend(self._afterwards())
            self._afterwards = None
        if not (self._given or self._free):
            return Searcher.FINISHED
        if len(self._running) >= self._lanes():
            return None
        proposal = self._propose()
        self._running.add(trial_id)
        self.proposals[trial_id] = proposal
        self.on_proposal(trial_id, proposal)
        chosen = {"trial": proposal.trial, "experiment": proposal.experiment.to_json()}
        return self._config | chosen | {"replicate_of": proposal.replicate_of}

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


class Rungs(EachItsLane, ASHAScheduler):
    """ASHA (Li et al. 2020, arXiv:1810.05934) on the reported epoch and the best objective so far."""

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
        self._objective = Objective(spec.objective.metric, spec.objective.mode)
        self._sign = 1.0 if spec.objective.mode == "max" else -1.0

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """A trial that is taken up again brings along the epochs that its checkpoint has behind it. A replicate trains
        for as long as what it repeats, whatever the others had by then."""
        if trial.config["replicate_of"] is not None:
            return str(TrialScheduler.CONTINUE)
        started = result.get("started")
        if started and self.remember(trial.trial_id, started.rows, self._objective) == TrialScheduler.STOP:
            return str(TrialScheduler.STOP)  # it was killed at a rung, before anybody judged it there
        return super().on_trial_result(tune_controller, trial, result)

    def stops(self, rows: list[dict[str, Any]]) -> bool:
        """Whether a trial is to end after the last of these epochs, of which nothing is remembered."""
        asked = copy.deepcopy(self)
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


def scheduler(spec: Spec, ended: list[Record], objective: Objective) -> TrialScheduler:
    """As the spec says; knows the rungs of the trials that ended in an earlier session."""
    if spec.early_stopping.scheduler == "none":
        return AllEpochs()
    rungs = Rungs(spec)
    for record in ended:
        rungs.remember(f"earlier-{record.trial}", record.epochs, objective)
    return rungs
