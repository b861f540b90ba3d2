"""The samplers by name: what the search tries next."""

from collections.abc import Callable
from typing import Protocol

from seg.experiment import Experiment
from study.samplers.cmaes import Cmaes
from study.samplers.gp import Gp
from study.samplers.history import History
from study.samplers.plain import Quasirandom, Random
from study.samplers.tpe import Tpe
from study.spec import Spec

__all__ = ["SAMPLERS", "History", "Sampler"]


class Sampler(Protocol):
    def propose(self, trial: int, seed: int, history: History) -> Experiment:
        """The experiment of the trial of this number. All chance comes from `seed` and the study's own: the same
        history, the same proposal."""


SAMPLERS: dict[str, Callable[[Spec], Sampler]] = {
    "tpe": Tpe,
    "gp": Gp,
    "cmaes": Cmaes,
    "random": Random,
    "qmc": Quasirandom,
}
