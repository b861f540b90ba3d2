"""The worker of each rank of a lane, which runs commands of many trials through seg's loop and answers them.

It does not need Ray: study.lanes.worker_group runs it in Ray's processes, study.lanes.in_process in the study's own.
"""

import contextlib
import dataclasses
import os
import socket
import sys
import threading
import time
import traceback
from bdb import BdbQuit
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.distributed as dist

from seg import batches, loop
from seg.device import pixels
from seg.device.latency import median_ms
from seg.experiment import Experiment
from seg.loop import Diverged
from seg.ranks import Ranks
from study.lanes import supplies
from study.store import Store, StoreError
from study.store.background import BackgroundWriter
from study.store.records import State
from study.trials.attempt import Attempt
from study.trials.messages import EpochDone, Failure, LaneSettings, Started, StartTrial, TrainEpoch

STORE_PATIENCE = 2.0
"""How many times longer than the driver a worker waits for the store: only the driver may give a study up."""
CONTEXT_BYTES = 0.6 * 2**30
"""Approximate bytes that a process holds on a GPU besides PyTorch's tensors: CUDA's context, cuDNN, NCCL."""
FEATURE_SHARE = 1 / 8
"""Share of the memory that the feature cache of frozen encoders may take."""
CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")

PULSE_SECONDS = 2.0
"""Seconds between two signs of life of a worker."""


class Pulse:
    """A worker's signs of life: whether its steps go on, and if not, where it stands still.

    `beat` is called once per step and costs nothing. Every PULSE_SECONDS, a thread of its own calls `tell`: with an
    empty text if there were steps, else with the stack of the thread that trains.
    """

    def __init__(self, tell: Callable[[str], object]):
        self._tell = tell
        self._steps = 0
        self._bounded = 0
        self._main = threading.get_ident()
        self._end = threading.Event()
        threading.Thread(target=self._watch, name="pulse", daemon=True).start()

    def beat(self) -> None:
        self._steps += 1

    @contextlib.contextmanager
    def bounded(self) -> Iterator[None]:
        """Do not count the code inside as a standstill: it ends in bounded time, such as waiting for the store."""
        self._bounded += 1
        try:
            yield
        finally:
            self._bounded -= 1

    def end(self) -> None:
        self._end.set()

    def _watch(self) -> None:
        seen = -1
        while not self._end.wait(PULSE_SECONDS):
            alive = self._steps != seen or self._bounded > 0
            seen = self._steps
            self._tell("" if alive else self._stack())

    def _stack(self) -> str:
        frame = sys._current_frames().get(self._main)
        return "".join(traceback.format_stack(frame)) if frame else ""


class Worker:
    """One rank and the trial that it trains."""

    def __init__(self, settings: LaneSettings, device: torch.device, ranks: Ranks, pulse: Pulse):
        torch.set_num_threads(settings.threads)
        self.settings, self.device, self.ranks, self._pulse = settings, device, ranks, pulse
        self._store = Store(settings.store_uri, STORE_PATIENCE * settings.store_seconds)
        self._writer = BackgroundWriter(self._store)
        limit_memory(device, settings.gpus_per_worker)
        with pulse.bounded():
            packed, self._weights_dir = supplies.pack_here(settings), supplies.weights_here(settings)
        self._data = loop.load(packed, device, feature_bytes(settings, device))
        self._nodes = ranks.all(socket.gethostname())
        self._attempt: Attempt | None = None
        self._epochs = 0
        self._idle_since: float | None = None
        self._latencies: dict[tuple[str, str], float] = {}
        """Milliseconds for one image, by model and precision."""
        self._begins = False
        """Whether the trial's next epoch is its first here."""

    def answer(self, command: StartTrial | TrainEpoch) -> Started | EpochDone | Failure:
        try:
            if isinstance(command, StartTrial):
                return self._start(command)
            return self._train_epoch()
        except BdbQuit as error:  # the user left the debugger, which ends the study
            raise KeyboardInterrupt from error
        except Exception as error:  # any failure of a trial is recorded, and the lane lives on
            self._attempt, self._idle_since = None, time.perf_counter()
            if lost_peer(error) or isinstance(error, StoreError) or self._writer.broken:
                raise  # not the trial's fault: this lane ends, and the trial continues on a new one from its last epoch
            return _failure(error, self.ranks.world)

    def _start(self, command: StartTrial) -> Started:
        began = time.perf_counter()
        self._attempt = None  # free its memory before the next model is built
        experiment = Experiment.from_json(command.experiment)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()  # memory of the previous trial must not count as this one's
            torch.cuda.reset_peak_memory_stats(self.device)
        run = loop.start(
            experiment,
            self._data,
            self.device,
            self._weights_dir,
            self.ranks,
            microbatches=command.microbatches,
            on_step=self._pulse.beat,
        )
        built = time.perf_counter() - began
        with self._pulse.bounded():
            self._writer.flush()
            objective, paused_at = self.settings.objective, command.paused_at
            self._attempt = Attempt(run, command.trial, objective, self._store, self._writer, paused_at)
        self._epochs, self._begins = experiment.epochs, True
        trainable, frozen = run.params
        return Started(
            device=device_name(self.device),
            params_trainable=trainable,
            params_frozen=frozen,
            build_seconds=built,
            sampling=batches.report(self._data.class_pixels_NC, run.weights_N),
            rows=list(self._attempt.rows),
            files=dict(self._attempt.files),
            microbatches=run.microbatches,
            precision=run.experiment.precision,
            nodes=self._nodes,
            latency_ms=self._latency_ms(run) if self.ranks.rank == 0 else None,
        )

    def _latency_ms(self, run: loop.Run) -> float:
        """Return the latency of the run's model, measured once: only model and precision change it."""
        chosen = run.experiment
        of = chosen.model, chosen.precision
        if of not in self._latencies:
            self._latencies[of] = median_ms(run.model, chosen.image_size, self.device, chosen.precision)
        return self._latencies[of]

    def _train_epoch(self) -> EpochDone:
        assert self._attempt is not None
        idle = time.perf_counter() - self._idle_since if self._begins and self._idle_since is not None else None
        self._begins = False
        done = self._attempt.train_epoch()
        self._idle_since = time.perf_counter()
        if done.row["epoch"] == self._epochs:
            with self._pulse.bounded():
                self._writer.flush()  # the files must be in the store before the trial is reported as finished
        return dataclasses.replace(done, gpu_memory_gib=peak_memory_gib(self.device), idle_seconds=idle)

    def send(self, seconds: float | None = None) -> None:
        """Send the files that wait for the store, for at most `seconds`."""
        with self._pulse.bounded():
            self._writer.flush(seconds)

    def close(self) -> None:
        self.send()
        self.release()

    def release(self) -> None:
        """Delete the cache of frozen encoders' features."""
        if self._data.features:
            self._data.features.close()


def lost_peer(error: Exception) -> bool:
    """Whether a collective failed because another rank is gone.

    Gloo says so only in the text of a plain RuntimeError.
    """
    text = str(error)
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and ("gloo" in text or "NCCL" in text))


def _failure(error: Exception, world: int) -> Failure:
    out_of_memory = isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)
    state = State.INFEASIBLE if out_of_memory else State.FAILED
    diverged = isinstance(error, Diverged)
    reason = str(error) if diverged else f"{type(error).__name__}: {error}"
    # Every rank sees a diverged loss at once; after any other error the other ranks may wait in a collective forever.
    # After any CUDA error other than out-of-memory, the CUDA context may be unusable in this process.
    device_lives = out_of_memory or "CUDA error" not in str(error)
    lane_lives = diverged or (world == 1 and device_lives)
    return Failure(state, reason.splitlines()[0], traceback.format_exc(), lane_lives, out_of_memory)


def limit_memory(device: torch.device, share: float) -> None:
    """Limit a worker with a share of a GPU to that share of its memory, including CUDA's own memory per process.

    A trial that needs more then runs out of memory itself, not at the cost of another lane on the GPU.
    """
    if device.type == "cuda" and 0 < share < 1:
        device = pixels.with_index(device)
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(max(share - CONTEXT_BYTES / total, share / 4), device)


def feature_bytes(settings: LaneSettings, device: torch.device) -> float:
    """Return the upper bound of the feature cache of frozen encoders, in bytes."""
    if settings.feature_bytes is not None:
        return settings.feature_bytes
    if device.type == "cuda":
        return FEATURE_SHARE * min(settings.gpus_per_worker, 1) * torch.cuda.get_device_properties(device).total_memory
    memory = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with contextlib.suppress(OSError, ValueError):  # a container's limit; "max" if it has none
        memory = min(memory, float(CONTAINER_LIMIT.read_text()))
    return FEATURE_SHARE * memory


def peak_memory_gib(device: torch.device) -> float:
    """Return the peak GPU memory that was reserved for this process, in GiB; 0 on a CPU."""
    return torch.cuda.max_memory_reserved(device) / 2**30 if device.type == "cuda" else 0.0


def device_name(device: torch.device) -> str:
    """Return the device's name for the records: the GPU's own name, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
