"""The samplers by name. A sampler chooses which experiment is tried next."""

from collections.abc import Callable
from typing import Protocol

from seg.experiment import Experiment
from study.search.samplers.cmaes import Cmaes
from study.search.samplers.gp import Gp
from study.search.samplers.history import History
from study.search.samplers.plain import Quasirandom, Random
from study.search.samplers.tpe import Tpe
from study.spec import Spec

__all__ = ["SAMPLERS", "History", "Sampler"]


class Sampler(Protocol):
    def propose(self, trial: int, seed: int, history: History) -> Experiment:
        """Return the experiment of the trial of this number.

        All randomness comes from `seed` and the study's own seed: the same history leads to the same proposal.
        """


SAMPLERS: dict[str, Callable[[Spec], Sampler]] = {
    "tpe": Tpe,
    "gp": Gp,
    "cmaes": Cmaes,
    "random": Random,
    "qmc": Quasirandom,
}
