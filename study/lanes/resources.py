"""How many lanes fit on a machine or a cluster, and what each of their workers gets."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from seg.cli import plural
from seg.errors import UserError
from study.spec.spec import IN_PROCESS, Spec

CORES_A_LANE = 4
"""CPU cores per worker of a lane when training without GPUs.

More lanes would cost memory, and more threads in one lane bring little.
"""


class LanesError(Exception):
    """Lanes cannot go on: they do not start on any node, or this process's GPU fails. The study can be resumed."""


class ResourceError(UserError):
    """The requested resources do not fit. The message says what was asked for, what is there, and what to do."""


@dataclass(frozen=True)
class Machine:
    """One machine, or one node of a cluster."""

    cpus: int
    gpus: int
    kind: str = field(default="", compare=False)
    """The node type, by which prices are given; empty if Ray does not report it."""

    def __str__(self) -> str:
        return _needs(self.cpus, self.gpus)


@dataclass(frozen=True)
class Cluster:
    """The machines on which lanes may run."""

    nodes: tuple[Machine, ...]
    """The nodes that are there now."""
    later: tuple[Machine, ...] = ()
    """The nodes that an autoscaler may add."""
    joined: bool = False
    """Whether it is a Ray cluster that was there before the study. Its nodes may come and go."""
    elastic: bool = False
    """Whether an autoscaler adds nodes on demand, even if all nodes that it may add are there now."""

    @property
    def all(self) -> tuple[Machine, ...]:
        return self.nodes + self.later

    def __str__(self) -> str:
        total = _needs(sum(node.cpus for node in self.nodes), sum(node.gpus for node in self.nodes))
        where = f"{total} on {plural(len(self.nodes), 'node')}" if len(self.nodes) != 1 else total
        return where + (f", and {plural(len(self.later), 'node')} to be added on demand" if self.later else "")


@dataclass(frozen=True)
class Allotment:
    lanes: int
    """Largest number of lanes at a time."""
    workers: int
    """Workers of each lane."""
    gpus_per_worker: float
    """GPUs of each worker; 0 means training on CPUs."""
    threads: int
    """CPU threads of each worker."""
    one_node: bool = True
    """Whether each lane is on one node; it spans several if no node holds all of its workers."""
    in_process: bool = False
    """Whether the only lane is in the study's own process, without Ray."""

    def __str__(self) -> str:
        if self.in_process:
            place = "GPU" if self.gpus_per_worker else plural(self.threads, "CPU thread")
            return f"a lane in this process, {place}"
        place = f"{self.gpus_per_worker:g} GPU" if self.gpus_per_worker else plural(self.threads, "CPU thread")
        return f"{plural(self.lanes, 'lane')} of {plural(self.workers, 'worker')}, {place} a worker"

    @property
    def cores(self) -> int:
        """CPU cores that a worker occupies: one if it has a GPU, whatever its number of threads."""
        return 1 if self.gpus_per_worker else self.threads

    def room(self, nodes: Sequence[Machine]) -> int:
        """Return how many lanes fit on `nodes`."""
        return _room(nodes, self.workers, self.gpus_per_worker, self.cores, self.one_node)


def _needs(cpus: int, gpus: float) -> str:
    return f"{plural(cpus, 'CPU core')} and {plural(gpus, 'GPU') if gpus else 'no GPUs'}"


def allot(spec: Spec, cluster: Cluster) -> Allotment:
    """Return the spec's lanes, or as many as fit for `auto`. Raises ResourceError if they do not fit.

    Without a GPU, training runs on the CPUs, whatever gpus_per_worker says. A worker takes at least one core.
    """
    workers = spec.resources.workers_per_trial
    if spec.resources.lanes == IN_PROCESS:
        return _in_process(spec, cluster)
    gpus_per_worker = spec.resources.gpus_per_worker if any(node.gpus for node in cluster.all) else 0.0
    one_node = any(_slots(node, gpus_per_worker, 1) >= workers for node in cluster.all)
    room = _room(cluster.all, workers, gpus_per_worker, 1, one_node)
    if room == 0:
        raise ResourceError(_no_room(cluster, workers, gpus_per_worker))
    asked = spec.resources.lanes
    if asked != "auto" and int(asked) > room:
        raise ResourceError(
            f"--lanes {asked}: does not fit: there are {cluster}, "
            f"room for {plural(room, 'lane')} of {plural(workers, 'worker')}; use --lanes {room} or fewer"
        )
    preferred = room if gpus_per_worker else _preferred(cluster.all, workers)
    lanes = min(preferred, spec.trials) if asked == "auto" else int(asked)
    threads = _threads(cluster.all, lanes, workers, gpus_per_worker)
    if asked == "auto" and not gpus_per_worker:
        lanes = min(_room(cluster.all, workers, 0, threads, one_node), spec.trials)
    return Allotment(lanes, workers, gpus_per_worker, threads, one_node)


def _in_process(spec: Spec, cluster: Cluster) -> Allotment:
    if (workers := spec.resources.workers_per_trial) > 1:
        raise ResourceError(f"--workers-per-trial {workers}: a lane in this process has one; for more: --lanes auto")
    (here,) = cluster.nodes
    gpus = float(min(spec.resources.gpus_per_worker, here.gpus, 1))
    return Allotment(1, 1, gpus, here.cpus, in_process=True)


def _no_room(cluster: Cluster, workers: int, gpus_per_worker: float) -> str:
    fewer = " or --workers-per-trial" if workers > 1 else ""
    remedy = f"a smaller --gpus-per-worker{fewer}" if gpus_per_worker else "fewer --workers-per-trial"
    return (
        f"--workers-per-trial {workers}: a trial needs {_needs(workers, workers * gpus_per_worker)}, "
        f"but there are {cluster}; use {remedy}"
    )


def _slots(node: Machine, gpus_per_worker: float, cores: int) -> int:
    """Return how many workers fit on a node."""
    by_cpu = node.cpus // cores
    if not gpus_per_worker:
        return by_cpu
    if gpus_per_worker >= 1:
        return min(int(node.gpus // gpus_per_worker), by_cpu)
    return min(node.gpus * int(1 / gpus_per_worker), by_cpu)  # a worker's share never straddles two GPUs


def _room(nodes: Sequence[Machine], workers: int, gpus_per_worker: float, cores: int, one_node: bool) -> int:
    slots = [_slots(node, gpus_per_worker, cores) for node in nodes]
    return sum(free // workers for free in slots) if one_node else sum(slots) // workers


def _preferred(nodes: Sequence[Machine], workers: int) -> int:
    """Return how many lanes to run on CPUs: one per node with enough cores for its workers, more on large nodes."""
    each = [max(node.cpus // workers // CORES_A_LANE, 1) for node in nodes if node.cpus >= workers]
    return sum(each) or max(_room(nodes, workers, 0, CORES_A_LANE, one_node=False), 1)


def _threads(nodes: Sequence[Machine], lanes: int, workers: int, gpus_per_worker: float) -> int:
    """Return the CPU threads of each worker: as many as leave room for all lanes."""
    if gpus_per_worker:
        # Share each node's cores among the most workers that it can get.
        shares = [
            node.cpus // min(slots, lanes * workers) for node in nodes if (slots := _slots(node, gpus_per_worker, 1))
        ]
        return min(shares)
    # A lane may run on any node that can hold it, so the smallest of these sets the limit.
    whole = [node.cpus // workers for node in nodes if node.cpus >= workers]
    most = min(whole or [max(node.cpus for node in nodes)])
    return next(cores for cores in range(most, 0, -1) if _room(nodes, workers, 0, cores, bool(whole)) >= lanes)
