"""What passes between a study's driver, its lanes and their workers. Plain data: no torch, no Ray."""

import math
from dataclasses import dataclass, field
from typing import Any

from study.objective import Objective
from study.records import State


@dataclass(frozen=True)
class Elsewhere:
    """How a node that does not see the driver's folders comes by what is in them, see study.supplies."""

    storage_uri: str
    dataset: str
    data_dir: str
    image_size: int
    weights: str
    """Of the encoders, under which the storage has them."""
    files: tuple[str, ...]
    """Which these are."""


@dataclass(frozen=True)
class LaneSettings:
    """What every trial of a lane shares."""

    store_uri: str
    pack_folder: str
    """The driver's; so is the next."""
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
    study: str = "study"
    """Its name, for whoever looks at the lanes."""
    cores: int = 1
    """CPU cores that Ray sets aside for each worker."""
    one_node: bool = False
    """Whether all of a lane's workers must be on one node."""
    room_seconds: float = math.inf
    """A lane that finds no room for so long gives its trial back."""
    elsewhere: Elsewhere | None = None
    """None where every node is the driver's own."""
    feature_bytes: float | None = None
    """Of what frozen encoders make of the images, kept on a node or a GPU; None: as its memory allows."""


@dataclass(frozen=True)
class StartTrial:
    trial: int
    experiment: dict[str, Any]
    microbatches: int = 1
    """Parts of each batch, see seg.loop.start: more of them need less memory."""
    paused_at: int = 0
    """The epoch whose checkpoint another lane has sent, or is sending, so that the trial goes on here; 0: none."""


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
    """Of the model and its optimiser, alone."""
    sampling: dict[str, list[float]]
    """Class frequencies, see seg.oversample.report."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    """Of the best epoch among `rows`, as records name them."""
    microbatches: int = 1
    precision: str = ""
    """That it trains in."""
    nodes: tuple[str, ...] = ()
    """Host name of each rank's node."""
    latency_ms: float | None = None
    """Of one image through the model, on rank 0's device."""


@dataclass(frozen=True)
class EpochDone:
    row: dict[str, Any]
    files: dict[str, str] = field(default_factory=dict)
    """Of the best epoch so far; they may be on their way to the store."""
    gpu_memory_gib: float = 0.0
    """Most that rank 0 has held since the trial began."""
    idle_seconds: float | None = None
    """Of a trial's first epoch: since the end of the last one of the trial before, on the same workers."""


@dataclass(frozen=True)
class Failure:
    """Answer to any command of a trial that cannot go on."""

    state: State
    reason: str
    traceback: str
    lane_lives: bool
    """False where the ranks may no longer be in step: the next trial needs a new worker group."""
    out_of_memory: bool = False
