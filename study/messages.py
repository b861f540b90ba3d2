"""What passes between a study's driver, its lanes and their workers. Plain data: no torch, no Ray."""

import math
from dataclasses import dataclass, field
from typing import Any

from study.objective import Objective
from study.records import State


@dataclass(frozen=True)
class LaneSettings:
    """What every trial of a lane shares."""

    store_uri: str
    pack_folder: str
    weights_dir: str | None
    objective: Objective
    workers: int
    gpus_per_worker: float
    threads: int
    """CPU threads of each worker."""
    hang_seconds: float = math.inf
    """A trial that makes no step for so long is ended."""
    store_seconds: float = 0.0
    """For so long a store that cannot be reached is tried again."""


@dataclass(frozen=True)
class StartTrial:
    trial: int
    experiment: dict[str, Any]
    microbatches: int = 1
    """Parts of each batch, see seg.loop.start: more of them need less memory."""


@dataclass(frozen=True)
class TrainEpoch:
    pass


@dataclass(frozen=True)
class Stop:
    pass


@dataclass(frozen=True)
class Started:
    """Answer to StartTrial: `rows` are the epochs that a checkpoint had already behind it."""

    device: str
    params_trainable: int
    params_frozen: int
    build_seconds: float
    sampling: dict[str, list[float]]
    """Class frequencies, see seg.oversample.report."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    """Of the best epoch among `rows`, as records name them."""
    microbatches: int = 1


@dataclass(frozen=True)
class EpochDone:
    row: dict[str, Any]
    files: dict[str, str] = field(default_factory=dict)
    """Of the best epoch so far; they may be on their way to the store."""


@dataclass(frozen=True)
class Failure:
    """Answer to any command of a trial that cannot go on."""

    state: State
    reason: str
    traceback: str
    lane_lives: bool
    """False where the ranks may no longer be in step: the next trial needs a new worker group."""
    out_of_memory: bool = False
