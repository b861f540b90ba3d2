"""Learning-rate schedules: what the initial rates are multiplied by at a step (from 0) of all steps of a run."""

import math
from collections.abc import Callable

WARM_UP = 0.3
"""Share of the steps in which `one_cycle` rises, the factors at which it begins and ends: OneCycleLR's defaults."""
BEGIN, END = 1 / 25, 1 / 25e4


def constant(step: int, steps: int) -> float:
    return 1.0


def cosine(step: int, steps: int) -> float:
    """Half a cosine from 1 towards 0 (Loshchilov & Hutter 2017, eq. 5, no restarts)."""
    return _between(1.0, 0.0, step / steps)


def one_cycle(step: int, steps: int) -> float:
    """Up to 1, then down to almost nothing, each by half a cosine (Smith & Topin 2018, arXiv:1708.07120), as
    torch.optim.lr_scheduler.OneCycleLR has it. No cycle of momentum."""
    top, last = WARM_UP * steps - 1, steps - 1
    if step <= top:
        return _between(BEGIN, 1.0, step / top)
    return _between(1.0, END, (step - top) / (last - top))


SCHEDULES: dict[str, Callable[[int, int], float]] = {"cosine": cosine, "constant": constant, "one_cycle": one_cycle}


def _between(start: float, end: float, share: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))
