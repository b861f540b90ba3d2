"""What each rank of a lane does: wait for a command, run it through seg's loop, answer. Trials come and go."""

import contextlib
import dataclasses
import os
import socket
import time
import traceback
from pathlib import Path
from typing import Any

import ray
import ray.train.torch
import torch
import torch.distributed as dist

from seg import loop, oversample
from seg.experiment import Experiment
from seg.latency import median_ms
from seg.loop import Diverged
from seg.ranks import Ranks
from study import sigterm, supplies
from study.attempt import Attempt
from study.blobs import BackgroundWriter
from study.messages import EpochDone, Failure, LaneSettings, Started, StartTrial, Stop, TrainEpoch
from study.pulse import Pulse
from study.records import State
from study.store import Store, StoreError

STORE_PATIENCE = 2.0
"""How much longer than the driver a worker waits for the store: the driver is who gives a study up."""
CONTEXT_BYTES = 0.6 * 2**30
"""About what a process holds on a GPU beside PyTorch's tensors: CUDA's context, cuDNN, NCCL."""
FEATURE_SHARE = 1 / 8
"""Of memory, for the features of frozen encoders."""
CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")
SIGTERM_SECONDS = 60.0
"""For so long a worker that is to end sends what it has to send."""


def serve(config: dict[str, Any]) -> None:
    """The body of a Ray Train worker: commands from the mailbox until Stop."""
    mailbox, ranks = config["mailbox"], Ranks.current()
    here = ray.get_runtime_context()
    ray.get(mailbox.register.remote(ranks.rank, here.current_actor, here.get_node_id()))
    pulse = Pulse(mailbox, ranks.rank)
    worker = Worker(config["settings"], ray.train.torch.get_device(), ranks, pulse)
    ray.get(mailbox.ready.remote())
    index = 0
    while not isinstance(command := ray.get(mailbox.command.remote(index)), Stop):
        answer = worker.answer(command)
        failure = answer if isinstance(answer, Failure) and not answer.lane_lives else None
        if ranks.rank == 0 or failure:
            ray.get(mailbox.put_answer.remote(index, answer))
        if failure:
            raise RuntimeError(failure.reason)
        index += 1
    worker.close()


class Worker:
    """One rank and the trial it is at."""

    def __init__(self, settings: LaneSettings, device: torch.device, ranks: Ranks, pulse: Pulse):
        torch.set_num_threads(settings.threads)
        self.settings, self.device, self.ranks, self._pulse = settings, device, ranks, pulse
        self._store = Store(settings.store_uri, STORE_PATIENCE * settings.store_seconds)
        self._writer = BackgroundWriter(self._store)
        sigterm.before_the_end(lambda: self._writer.flush(SIGTERM_SECONDS))
        limit_memory(device, settings.gpus_per_worker)
        with pulse.bounded():
            packed, self._weights_dir = supplies.pack_here(settings), supplies.weights_here(settings)
        self._data = loop.load(packed, device, feature_bytes(settings, device))
        self._nodes = ranks.all(socket.gethostname())
        self._attempt: Attempt | None = None
        self._epochs = 0
        self._idle_since: float | None = None
        self._latencies: dict[tuple[str, str], float] = {}
        """In milliseconds, by model and precision."""
        self._begins = False
        """Whether the trial's next epoch is its first here."""

    def answer(self, command: StartTrial | TrainEpoch) -> Started | EpochDone | Failure:
        try:
            if isinstance(command, StartTrial):
                return self._start(command)
            return self._train_epoch()
        except Exception as error:  # whatever a trial does, it is recorded, and the lane lives on
            self._attempt, self._idle_since = None, time.perf_counter()
            if lost_peer(error) or isinstance(error, StoreError) or self._writer.broken:
                raise  # not this trial's doing: the lane ends, and the trial goes on from its last epoch on a new one
            return _failure(error, self.ranks.world)

    def _start(self, command: StartTrial) -> Started:
        began = time.perf_counter()
        self._attempt = None  # its memory is free before the next model is built
        experiment = Experiment.from_json(command.experiment)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()  # of the trial before: what it held does not count as this one's
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
            sampling=oversample.report(self._data.class_pixels_NC, run.weights_N),
            rows=list(self._attempt.rows),
            files=dict(self._attempt.files),
            microbatches=run.microbatches,
            precision=run.experiment.precision,
            nodes=self._nodes,
            latency_ms=self._latency_ms(run) if self.ranks.rank == 0 else None,
        )

    def _latency_ms(self, run: loop.Run) -> float:
        """Of the architecture: whatever else a trial chooses, it takes as long."""
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
                self._writer.flush()  # a finished trial's files are there before it is called finished
        return dataclasses.replace(done, gpu_memory_gib=peak_memory_gib(self.device), idle_seconds=idle)

    def close(self) -> None:
        with self._pulse.bounded():
            self._writer.flush()
        if self._data.features:
            self._data.features.close()


def lost_peer(error: Exception) -> bool:
    """Whether a collective failed because another rank is gone. Gloo says so in the text of a plain RuntimeError."""
    text = str(error)
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and ("gloo" in text or "NCCL" in text))


def _failure(error: Exception, world: int) -> Failure:
    out_of_memory = isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)
    state = State.INFEASIBLE if out_of_memory else State.FAILED
    diverged = isinstance(error, Diverged)
    reason = str(error) if diverged else f"{type(error).__name__}: {error}"
    # A diverged loss is seen by every rank at once; after anything else the others may wait in a collective for ever.
    # A device on which anything else went wrong than its memory may not come to itself in this process.
    device_lives = out_of_memory or "CUDA error" not in str(error)
    lane_lives = diverged or (world == 1 and device_lives)
    return Failure(state, reason.splitlines()[0], traceback.format_exc(), lane_lives, out_of_memory)


def limit_memory(device: torch.device, share: float) -> None:
    """A worker with a share of a GPU gets that share of its memory, what CUDA itself takes for each process included:
    a trial that needs more runs out of memory by itself, not at the cost of the lane beside it."""
    if device.type == "cuda" and 0 < share < 1:
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(max(share - CONTEXT_BYTES / total, share / 4), device)


def feature_bytes(settings: LaneSettings, device: torch.device) -> float:
    """How much of what frozen encoders make of the images is kept."""
    if settings.feature_bytes is not None:
        return settings.feature_bytes
    if device.type == "cuda":
        return FEATURE_SHARE * min(settings.gpus_per_worker, 1) * torch.cuda.get_device_properties(device).total_memory
    memory = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with contextlib.suppress(OSError, ValueError):  # of a container; "max" where it has no limit of its own
        memory = min(memory, float(CONTAINER_LIMIT.read_text()))
    return FEATURE_SHARE * memory


def peak_memory_gib(device: torch.device) -> float:
    """Of a GPU, most that was set aside for this process at a time; 0 on a CPU."""
    return torch.cuda.max_memory_reserved(device) / 2**30 if device.type == "cuda" else 0.0


def device_name(device: torch.device) -> str:
    """As records keep it: the GPU's own name, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
