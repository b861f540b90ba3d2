"""The searcher: it proposes the experiments of new trials and learns from every trial, even if it did not propose it.

Everything that it knows comes from records, so that a resumed study goes on searching with all that it had learned.
"""

import dataclasses
import hashlib
import warnings
from dataclasses import dataclass

import optuna

from seg.experiment import Experiment
from study.search.samplers import SAMPLERS, History
from study.spec import Spec
from study.store.records import Record

TRIES = 5
"""The maximum number of proposals for one trial, if the study has already had the earlier ones."""


class Searcher:
    """A sampler and the history that it learns from."""

    def __init__(self, spec: Spec):
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)  # multivariate, group
        self._spec = spec
        self._sampler = SAMPLERS[spec.sampler](spec)
        self.history = History(spec)

    def ask(self, trial: int) -> Experiment:
        """Return the experiment of a new trial.

        It depends only on the seed, the trial's number, and what is known by then. So a study that was interrupted
        proposes the same as one that was not. An experiment is repeated only if several tries lead to no new one, as
        in a small space of choices. It then has another seed: a second sample of the same choices.
        """
        for attempt in range(TRIES):
            proposed = self._sampler.propose(trial, self._seed(trial, attempt), self.history)
            if not self.history.times(proposed):
                break
        proposed = dataclasses.replace(proposed, seed=self._spec.seed + self.history.times(proposed))
        self.begin(trial, proposed)
        return proposed

    def begin(self, trial: int, experiment: Experiment) -> None:
        """Note that the trial runs, without results so far."""
        self.history.begin(trial, experiment)

    def tell(self, record: Record) -> None:
        """Note that the trial has ended or is paused."""
        self.history.tell(record)

    def _seed(self, trial: int, attempt: int) -> int:
        place = f"{self._spec.seed}/{trial}" + (f"/{attempt}" if attempt else "")
        return int.from_bytes(hashlib.sha256(place.encode()).digest()[:4])


@dataclass(frozen=True)
class Proposal:
    """A trial for a free lane: `record` is set if it was already begun, `replicate_of` if it repeats a finalist."""

    trial: int
    source: str
    experiment: Experiment
    record: Record | None = None
    replicate_of: int | None = None


def going_on(record: Record) -> Proposal:
    experiment = Experiment.from_json(record.experiment)
    return Proposal(record.trial, record.source, experiment, record, record.replicate_of)
