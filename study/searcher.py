"""The searcher: asked for the experiments of new trials, told of every trial that has got somewhere, whoever proposed
it. All that it knows it can learn from records, so that a resumed study searches on with all that it had learned."""

import dataclasses
import hashlib
import warnings

import optuna

from seg.experiment import Experiment
from study.records import Record
from study.samplers import SAMPLERS, History
from study.spec import Spec

TRIES = 5
"""Proposals for one trial, while they are experiments that the study has had."""


class Searcher:
    """A sampler and the history that it is shown."""

    def __init__(self, spec: Spec):
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)  # multivariate, group
        self._spec = spec
        self._sampler = SAMPLERS[spec.sampler](spec)
        self.history = History(spec)

    def ask(self, trial: int) -> Experiment:
        """What is proposed follows from the seed, the trial's number and what is known by then: a study that was
        interrupted proposes what it would have proposed without.

        An experiment that the study has had is proposed again only where several tries lead to none that is new, as in
        a small space of choices. It then has a seed of its own: a second sample of the same choices.
        """
        for attempt in range(TRIES):
            proposed = self._sampler.propose(trial, self._seed(trial, attempt), self.history)
            if not self.history.times(proposed):
                break
        proposed = dataclasses.replace(proposed, seed=self._spec.seed + self.history.times(proposed))
        self.begin(trial, proposed)
        return proposed

    def begin(self, trial: int, experiment: Experiment) -> None:
        """It runs, without results so far."""
        self.history.begin(trial, experiment)

    def tell(self, record: Record) -> None:
        """It has ended, or is paused."""
        self.history.tell(record)

    def _seed(self, trial: int, attempt: int) -> int:
        place = f"{self._spec.seed}/{trial}" + (f"/{attempt}" if attempt else "")
        return int.from_bytes(hashlib.sha256(place.encode()).digest()[:4])
