"""The schedulers by name. A scheduler decides which trials stop early, or pause and go on later."""

from collections.abc import Callable

from study.search.schedulers.asha import Hyperband, PromotingAsha, StoppingAsha
from study.search.schedulers.scheduler import AllEpochs, Decision, MedianRule, Scheduler
from study.spec import Spec

__all__ = ["SCHEDULERS", "Decision", "Scheduler", "build"]

SCHEDULERS: dict[str, Callable[[int, int, int, int], Scheduler]] = {
    "asha": lambda first, factor, epochs, trials: StoppingAsha(first, factor, epochs),
    "promoting_asha": PromotingAsha,
    "hyperband": Hyperband,
    "median": lambda first, factor, epochs, trials: MedianRule(first),
    "none": lambda first, factor, epochs, trials: AllEpochs(),
}
"""Functions of the first rung's epoch, the reduction factor, the epochs of a full trial, and the number of trials."""


def build(spec: Spec) -> Scheduler:
    stopping = spec.early_stopping
    return SCHEDULERS[stopping.scheduler](stopping.min_epochs, stopping.reduction_factor, spec.epochs, spec.trials)
