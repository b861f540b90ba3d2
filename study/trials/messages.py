"""The messages between a study's driver, its lanes and their workers: plain data without torch or Ray."""

import math
from dataclasses import dataclass, field
from typing import Any

from study.ranking.objective import Objective
from study.store.records import State

LATE_SECONDS = 60.0
"""Seconds to wait for the last files of a trial, which a lane that was told to stop it may still be sending."""
POLL_SECONDS = 0.2


@dataclass(frozen=True)
class RemoteInputs:
    """Where a node that does not see the driver's folders gets their contents (see study.lanes.supplies)."""

    storage_uri: str
    dataset: str
    data_dir: str
    image_size: int
    weights: str
    """Digest of the encoder weights, by which the storage names their folder."""
    files: tuple[str, ...]
    """Names of the weights files."""


@dataclass(frozen=True)
class LaneSettings:
    """The settings that all trials of a lane share."""

    store_uri: str
    pack_folder: str
    """The driver's own folder of the pack; `weights_dir` is also a folder of the driver's."""
    weights_dir: str | None
    objective: Objective
    workers: int
    gpus_per_worker: float
    threads: int
    """CPU threads of each worker."""
    hang_seconds: float = math.inf
    """Seconds without a step after which a trial is ended."""
    store_seconds: float = 0.0
    """Seconds for which a store that cannot be reached is tried again."""
    study: str = "study"
    """The study's name, which the names of its lanes begin with."""
    cores: int = 1
    """CPU cores that Ray sets aside for each worker."""
    one_node: bool = False
    """Whether all of a lane's workers must be on one node."""
    room_seconds: float = math.inf
    """Seconds without room for its workers after which a lane gives its trial back."""
    elsewhere: RemoteInputs | None = None
    """None if every node is the driver's own."""
    feature_bytes: float | None = None
    """Upper bound of the feature cache on a node or a GPU, in bytes; None means a share of its memory."""


@dataclass(frozen=True)
class StartTrial:
    trial: int
    experiment: dict[str, Any]
    microbatches: int = 1
    """Parts of each batch: more parts need less memory (see seg.loop.start)."""
    paused_at: int = 0
    """The epoch of the checkpoint that another lane has sent or is still sending; 0 if the trial was not paused."""


@dataclass(frozen=True)
class TrainEpoch:
    pass


@dataclass(frozen=True)
class Stop:
    pass


@dataclass(frozen=True)
class Started:
    """The answer to StartTrial. `rows` are the epochs that the checkpoint had already finished."""

    device: str
    params_trainable: int
    params_frozen: int
    build_seconds: float
    """Seconds for building the model and its optimiser, without restoring a checkpoint."""
    sampling: dict[str, list[float]]
    """Class frequencies (see seg.batches.report)."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    """Files of the best epoch among `rows`, as in a record's `files`."""
    microbatches: int = 1
    precision: str = ""
    """The precision that the trial trains in."""
    nodes: tuple[str, ...] = ()
    """Host name of each rank's node."""
    latency_ms: float | None = None
    """Milliseconds for one image through the model, on rank 0's device."""


@dataclass(frozen=True)
class EpochDone:
    row: dict[str, Any]
    files: dict[str, str] = field(default_factory=dict)
    """Files of the best epoch so far, which may still be on their way to the store."""
    gpu_memory_gib: float = 0.0
    """Peak GPU memory of rank 0 since the trial began."""
    idle_seconds: float | None = None
    """Seconds between the previous trial's last epoch on these workers and this trial's first one; else None."""


@dataclass(frozen=True)
class Failure:
    """The answer to any command of a trial that cannot go on."""

    state: State
    reason: str
    traceback: str
    lane_lives: bool
    """False if the ranks may no longer be in step, so that the next trial needs a new worker group."""
    out_of_memory: bool = False


@dataclass(frozen=True)
class Report:
    """What a lane tells the recorder after each step of a trial."""

    outcome: EpochDone | Failure
    done: bool
    """Whether the trial ends with this step."""
    started: Started | None = None
    """Given if the trial was begun or taken up again in this step."""
    lane: str = ""
    """The lane's name, given together with `started`."""
