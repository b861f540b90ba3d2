"""The Ray cluster of a study, joined or started here, and how many lanes fit on it as nodes come and go."""

import logging
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import yaml
from ray.util.metrics import Gauge
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from seg.cli import plural
from study.lanes import ray_internals
from study.lanes.ray_internals import draining_nodes
from study.lanes.resources import Allotment, Cluster, Machine, ResourceError
from study.store.records import Record, State
from study.trials.tally import Tally

NODE_TYPE = "ray.io/node-group"
"""The label of a node's type: its group in KubeRay, or the autoscaler's node type."""
LOOK_SECONDS = 3.0
"""Seconds between two checks of which nodes are there."""
QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
LOCAL: dict[str, Any] = {"address": "local", "dashboard_host": "127.0.0.1", **QUIET}
"""Options of `ray.init` for a Ray started here.

From Ray 2.60 on it asks for a token, unless RAY_AUTH_MODE says otherwise.
"""


def join(address: str, patience_seconds: float = 0) -> Cluster:
    """Connect to a running Ray cluster and return its nodes. Raises ResourceError if there is no cluster.

    Waits up to `patience_seconds` for a node that can train.
    """
    ray_internals.prepare_process()
    try:
        ray.init(address=address, **QUIET)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ResourceError(
            f"--address {address}: no Ray cluster to join ({reason}); see `ray status`, and have the cluster's token "
            "in ~/.ray/auth_token"
        ) from error
    return _wait_for_nodes(patience_seconds)


def _wait_for_nodes(seconds: float) -> Cluster:
    """Wait up to `seconds` for a node that can train: a head that trains nothing may start before the others."""
    end = time.monotonic() + seconds
    while True:
        found = Cluster(tuple(nodes()), tuple(autoscaled_nodes()), joined=True, elastic=bool(_added_types()))
        if any(node.cpus for node in found.all) or time.monotonic() > end:
            return found
        print("no node is there that could train; waiting for one", file=sys.stderr, flush=True)
        time.sleep(15)


@contextmanager
def ray_session(cluster: Cluster) -> Iterator[str]:
    """Keep Ray up while the study runs: the joined cluster, or one started here. Yields the dashboard's address."""
    if not ray.is_initialized():
        # glibc reads this when a process starts. With an arena of its own, the thread in which a worker trains could
        # not keep freed blocks of 64 MB (see seg.device.memory), and epochs would take 1.1 to 1.2 times as long
        # (bench_allocator.py).
        ray_internals.prepare_process(MALLOC_ARENA_MAX="1")
        ray.init(num_cpus=sum(node.cpus for node in cluster.nodes), **LOCAL)
    url = ray_internals.dashboard_url()
    try:
        if not cluster.joined:
            ray_internals.start_coordinator()
        yield f"http://{url}" if url else "not available"
    finally:
        ray.shutdown()


def alive() -> list[dict[str, Any]]:
    """Return Ray's own description of each node that is alive and not about to end."""
    ending = draining_nodes()
    return [node for node in ray.nodes() if node["Alive"] and node["NodeID"] not in ending]


def nodes() -> list[Machine]:
    return [_machine(node["Resources"], node.get("Labels", {}).get(NODE_TYPE, "")) for node in alive()]


def check_seen(folder: Path, cluster: Cluster) -> None:
    """Raise ResourceError if a node, or one that may be added, does not see the files of this machine's `folder`."""
    if cluster.elastic:
        raise ResourceError(
            f"--storage {folder}: machines that are added on demand do not see this folder; "
            "give an address that they reach: s3://bucket/prefix"
        )
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".seen-") as token:
        asked = {node["NodeName"]: _look(node).remote(token.name) for node in alive()}
        blind = [name for name, answer in asked.items() if not ray.get(answer)]
    if blind:
        raise ResourceError(
            f"--storage {folder}: node {blind[0]} does not see this folder"
            + (f", nor do {len(blind) - 1} others" if len(blind) > 1 else "")
            + "; on a cluster, give an address that every node reaches (s3://bucket/prefix) or a shared folder"
        )


def _sees(path: str) -> bool:
    return Path(path).exists()


def _look(node: dict[str, Any]) -> Any:
    """Return `_sees` as a remote function that runs on this node."""
    here = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    return ray.remote(_sees).options(num_cpus=0, max_retries=0, scheduling_strategy=here)


def autoscaled_nodes() -> list[Machine]:
    """Return the nodes that the cluster's autoscaler may still add.

    Only the cluster's head knows them, from `ray up`; on any other machine the list is empty.
    """
    types, now = _added_types(), nodes()
    found = [one for one, most in types for _ in range(most - now.count(one))]
    # The largest first: if the cluster may not have all of them, the autoscaler's choice is not known.
    most = _launched_with().get("max_workers", 0)
    return sorted(found, key=lambda one: (-one.gpus, -one.cpus))[: max(most - len(now) + 1, 0)]


def _added_types() -> list[tuple[Machine, int]]:
    """Return the kinds of machine that the autoscaler adds, and how many of each there may be."""
    config = _launched_with()
    types = dict(config.get("available_node_types", {}))
    types.pop(config.get("head_node_type"), None)
    kinds = [(_machine(kind.get("resources", {}), name), kind.get("max_workers", 0)) for name, kind in types.items()]
    return [(one, most) for one, most in kinds if most]


def _launched_with() -> dict[str, Any]:
    """Return the configuration that `ray up` left on the head; empty if this process runs on another machine."""
    head = ray.get_runtime_context().gcs_address.rsplit(":", 1)[0]
    left = Path.home() / "ray_bootstrap_config.yaml"
    if head != ray.util.get_node_ip_address() or not left.is_file():
        return {}
    return dict(yaml.safe_load(left.read_text()))


def _machine(resources: dict[str, float], kind: str) -> Machine:
    return Machine(cpus=int(resources.get("CPU", 0)), gpus=int(resources.get("GPU", 0)), kind=kind)


class LaneCapacity:
    """The number of lanes to have now: as many as fit on the current nodes.

    If an autoscaler may add nodes, it is the whole allotment: waiting lanes are what makes it add nodes.
    """

    def __init__(
        self,
        allotment: Allotment,
        cluster: Cluster,
        most: int,
        say: Callable[[str], None],
        look: Callable[[], list[Machine]] = nodes,
    ):
        """`most` is the largest number of lanes, however large the cluster grows.

        `say` is called with one line when nodes join or leave.
        """
        self._allotment, self._cluster, self._most, self._say, self._look = allotment, cluster, most, say, look
        self._nodes = list(cluster.nodes)
        self._looked = time.monotonic()
        self._lock = threading.Lock()

    def nodes(self) -> list[Machine]:
        """Return the current nodes, checked at most every LOOK_SECONDS.

        Several threads call this many times a second.
        """
        with self._lock:
            if self._cluster.joined and time.monotonic() - self._looked > LOOK_SECONDS:
                self._looked = time.monotonic()
                self._see(self._look())
            return self._nodes

    def lanes(self) -> int:
        """Return the number of lanes to have now."""
        self.nodes()
        return self._allotment.lanes if self._cluster.elastic else self._now

    @property
    def _now(self) -> int:
        return min(self._allotment.room(self._nodes), self._most)

    def _see(self, nodes: list[Machine]) -> None:
        more = len(nodes) - len(self._nodes)
        self._nodes = nodes
        if more:
            change = f"{plural(abs(more), 'node')} {'joined' if more > 0 else 'left'}"
            room = plural(self._now, "lane") + " now" if self._now else "no lane now; trials wait for a node"
            self._say(f"{change}: room for {room}")


class Gauges:
    """What Ray's dashboard and Prometheus show of a running study, by its name: best score, trials, lanes, pace.

    Call `change` at every change of a record. Ray exports the values from every node, see `ray metrics`.
    """

    def __init__(self, study: str, tally: Tally, lanes: Callable[[], int]):
        self._study, self._tally, self._lanes = {"study": study}, tally, lanes
        self._best = Gauge("segstudy_best_score", f"best {tally.objective.metric} so far", ("study", "metric"))
        self._trials = Gauge("segstudy_trials", "trials in each state", ("study", "state"))
        self._room = Gauge("segstudy_lanes", "lanes that the machines hold now", ("study",))
        self._trial = Gauge("segstudy_lane_trial", "number of the trial that a lane is at", ("study", "lane"))
        self._pace = Gauge("segstudy_images_per_second", "of a lane, in training", ("study", "lane"))
        self._memory = Gauge("segstudy_gpu_memory_gib", "most that a lane's trial has held", ("study", "lane"))

    def change(self, record: Record) -> None:
        for state in (*State, "paused"):
            self._trials.set(self._tally.states[state], self._study | {"state": str(state)})
        self._room.set(self._lanes(), self._study)
        metric = self._tally.objective.metric
        if (best := self._tally.best) is not None:
            self._best.set(best.best[metric], self._study | {"metric": metric})
        if lane := record.extra.get("lane"):
            tags = self._study | {"lane": lane}
            self._trial.set(record.trial, tags)
            going = not record.state.ended  # else a lane that is gone would seem to train for ever
            self._memory.set(record.extra.get("gpu_memory_gib", 0.0) * going, tags)
            if record.epochs:
                self._pace.set(record.epochs[-1]["images_per_second"] * going, tags)
