"""How many lanes fit on a machine or a cluster, and what each of their workers gets."""

from dataclasses import dataclass

from study.spec import Spec


class ResourceError(Exception):
    """What was asked for does not fit. The message says what was asked, what is there, what to do."""


@dataclass(frozen=True)
class Machine:
    """What is there in all: one machine, or every node of a cluster together."""

    cpus: int
    gpus: int

    def __str__(self) -> str:
        return _needs(self.cpus, self.gpus)


@dataclass(frozen=True)
class Allotment:
    lanes: int
    workers: int
    """Of each lane."""
    gpus_per_worker: float
    """0: training on CPUs."""
    threads: int
    """CPU threads of each worker."""

    def __str__(self) -> str:
        place = f"{self.gpus_per_worker:g} GPU" if self.gpus_per_worker else _plural(self.threads, "CPU thread")
        return f"{_plural(self.lanes, 'lane')} of {_plural(self.workers, 'worker')}, {place} a worker"


def _plural(count: float, noun: str) -> str:
    return f"{count:g} {noun}{'' if count == 1 else 's'}"


def _needs(cpus: int, gpus: float) -> str:
    return f"{_plural(cpus, 'CPU core')} and {_plural(gpus, 'GPU') if gpus else 'no GPUs'}"


def allot(spec: Spec, machine: Machine) -> Allotment:
    """The spec's lanes, or as many as fit. ResourceError where they do not fit.

    Without a GPU, training runs on the CPUs, whatever gpus_per_worker says; a worker takes one core at least.
    """
    workers = spec.resources.workers_per_trial
    gpus_per_worker = spec.resources.gpus_per_worker if machine.gpus else 0.0
    room = _room(machine, workers, gpus_per_worker)
    if room == 0:
        fewer = " or --workers-per-trial" if workers > 1 else ""
        remedy = f"a smaller --gpus-per-worker{fewer}" if gpus_per_worker else "fewer --workers-per-trial"
        raise ResourceError(
            f"--workers-per-trial {workers}: a trial needs {_needs(workers, workers * gpus_per_worker)}, "
            f"but there are {machine}; use {remedy}"
        )
    asked = spec.resources.lanes
    lanes = min(_preferred(room, gpus_per_worker), spec.trials) if asked == "auto" else int(asked)
    if lanes > room:
        raise ResourceError(
            f"--lanes {lanes}: does not fit: there are {machine}, "
            f"room for {_plural(room, 'lane')} of {_plural(workers, 'worker')}; use --lanes {room} or fewer"
        )
    return Allotment(lanes, workers, gpus_per_worker, threads=max(machine.cpus // (lanes * workers), 1))


def _room(machine: Machine, workers: int, gpus_per_worker: float) -> int:
    by_cpu = machine.cpus // workers
    if not gpus_per_worker:
        return by_cpu
    if gpus_per_worker >= 1:
        return min(int(machine.gpus // (workers * gpus_per_worker)), by_cpu)
    # A worker's share never straddles two GPUs.
    return min(machine.gpus * int(1 / gpus_per_worker) // workers, by_cpu)


def _preferred(room: int, gpus_per_worker: float) -> int:
    """Every GPU is used; on CPUs, four cores a lane: more lanes cost memory, more threads bring little."""
    return room if gpus_per_worker else max(room // 4, 1)
