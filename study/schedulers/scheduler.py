"""What every scheduler can be asked. It knows trials by their numbers and their scores epoch by epoch, nothing of Tune:
a real study and a simulated one ask the same object."""

import enum
import math
from collections.abc import Sequence
from typing import Protocol


class Decision(enum.Enum):
    """What becomes of a trial after an epoch."""

    GO_ON = enum.auto()
    STOP = enum.auto()
    PAUSE = enum.auto()
    """Its lane takes another trial; it may go on later, on any lane, from its checkpoint."""


class Scheduler(Protocol):
    """`scores`, of a trial's epochs from the first on: higher is better, NaN where an epoch has none."""

    pauses: bool
    """Whether it ever decides so."""

    def judge(self, trial: int, scores: Sequence[float]) -> Decision:
        """After an epoch that is not the trial's last."""

    def remember(self, trial: int, scores: Sequence[float]) -> None:
        """What a trial did earlier. Nothing is decided about it, and it does not wait."""

    def promotable(self, last: bool = False) -> int | None:
        """The paused trial that is to go on next, if any. `last`: no trial runs and none is to come."""

    def promote(self, trial: int) -> None:
        """A paused trial goes on."""

    def settle(self) -> list[int]:
        """Paused trials that cannot go on whatever the others do. They no longer wait."""


class NeverPausing:
    """For those that only stop trials."""

    pauses = False

    def promotable(self, last: bool = False) -> int | None:
        return None

    def promote(self, trial: int) -> None:
        raise ValueError(f"trial {trial} is not paused")

    def settle(self) -> list[int]:
        return []


class AllEpochs(NeverPausing):
    """No early stopping."""

    def judge(self, trial: int, scores: Sequence[float]) -> Decision:
        return Decision.GO_ON

    def remember(self, trial: int, scores: Sequence[float]) -> None:
        """Nothing: no trial is compared with another."""


def best(scores: Sequence[float]) -> float:
    """NaN where no epoch has a score."""
    return max((score for score in scores if not math.isnan(score)), default=math.nan)
