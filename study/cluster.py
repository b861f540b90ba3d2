"""The Ray that a study runs on: joined or started here, and how many lanes it holds as nodes come and go."""

import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray
from ray.data._internal.cluster_autoscaler.default_autoscaling_coordinator import get_or_create_autoscaling_coordinator
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from study.resources import Allotment, Cluster, Machine, ResourceError, plural

NODE_TYPE = "ray.io/node-group"
"""The label that has a node's type: KubeRay's group, or the autoscaler's."""
LOOK_SECONDS = 3.0
"""Between two looks at which nodes are there."""
QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
LOCAL: dict[str, Any] = {"address": "local", "dashboard_host": "127.0.0.1", **QUIET}
"""A Ray of our own. It asks for a token from 2.60 on, unless RAY_AUTH_MODE says otherwise."""


def join(address: str, patience_seconds: float = 0) -> Cluster:
    """Connect to a running Ray cluster; what its nodes have, so much later if need be. ResourceError where there is
    no cluster."""
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
    """A head that trains nothing may be there before the others."""
    end = time.monotonic() + seconds
    while True:
        found = Cluster(tuple(nodes()), tuple(later()), joined=True, elastic=bool(_added_types()))
        if any(node.cpus for node in found.all) or time.monotonic() > end:
            return found
        print("no node is there that could train; waiting for one", file=sys.stderr, flush=True)
        time.sleep(15)


@contextmanager
def ray_session(cluster: Cluster) -> Iterator[str]:
    """Ray while the study runs: the cluster joined, or one started here for it. Gives the dashboard's address."""
    if not ray.is_initialized():
        # glibc reads it where a process starts. In an arena of its own, the thread in which a worker trains would keep
        # no blocks of 64 MB (see seg.allocator): epochs take 1.1 to 1.2 times as long (bench_allocator.py).
        os.environ.setdefault("MALLOC_ARENA_MAX", "1")
        ray.init(num_cpus=sum(node.cpus for node in cluster.nodes), **LOCAL)
    url = ray.worker.global_worker.node.webui_url if ray.worker.global_worker.node else ""
    try:
        if not cluster.joined:
            get_or_create_autoscaling_coordinator()  # of Ray Train, which the first lane would wait for
        yield f"http://{url}" if url else "not available"
    finally:
        ray.shutdown()


def alive() -> list[dict[str, Any]]:
    """Ray's own description of each node that is there, and has not been given notice."""
    ending = draining()
    return [node for node in ray.nodes() if node["Alive"] and node["NodeID"] not in ending]


def draining() -> set[str]:
    """Ids of the nodes that are about to end: a spot instance, or one that the autoscaler takes away."""
    return set(ray._private.state.state.get_draining_nodes())


def nodes() -> list[Machine]:
    return [_machine(node["Resources"], node.get("Labels", {}).get(NODE_TYPE, "")) for node in alive()]


def check_seen(folder: Path, cluster: Cluster) -> None:
    """ResourceError where a node does not see what lies in `folder` here, or may not once it is added."""
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
    """`_sees`, to be run on a node."""
    here = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    return ray.remote(_sees).options(num_cpus=0, max_retries=0, scheduling_strategy=here)


def later() -> list[Machine]:
    """Nodes that the cluster's autoscaler may add to those that are there. Only its head knows, from `ray up`: on
    another machine there seem to be none."""
    types, now = _added_types(), nodes()
    found = [one for one, most in types for _ in range(most - now.count(one))]
    # The largest first: where the cluster may not have all of them, the autoscaler's choice is not known.
    most = _launched_with().get("max_workers", 0)
    return sorted(found, key=lambda one: (-one.gpus, -one.cpus))[: max(most - len(now) + 1, 0)]


def _added_types() -> list[tuple[Machine, int]]:
    """The kinds of machine that the autoscaler adds, and how many of each there may be."""
    config = _launched_with()
    types = dict(config.get("available_node_types", {}))
    types.pop(config.get("head_node_type"), None)
    kinds = [(_machine(kind.get("resources", {}), name), kind.get("max_workers", 0)) for name, kind in types.items()]
    return [(one, most) for one, most in kinds if most]


def _launched_with() -> dict[str, Any]:
    """What `ray up` left on the head, where this process runs there; empty elsewhere."""
    head = ray.get_runtime_context().gcs_address.rsplit(":", 1)[0]
    left = Path.home() / "ray_bootstrap_config.yaml"
    if head != ray.util.get_node_ip_address() or not left.is_file():
        return {}
    return dict(yaml.safe_load(left.read_text()))


def _machine(resources: dict[str, float], kind: str) -> Machine:
    return Machine(cpus=int(resources.get("CPU", 0)), gpus=int(resources.get("GPU", 0)), kind=kind)


class Room:
    """How many lanes to have now: as many as the nodes that are there hold. Where an autoscaler may add nodes, all of
    the allotment's: lanes that wait are what it adds nodes for."""

    def __init__(
        self,
        allotment: Allotment,
        cluster: Cluster,
        most: int,
        say: Callable[[str], None],
        look: Callable[[], list[Machine]] = nodes,
    ):
        """At most `most`, however large the cluster grows. `say` is told of nodes that come and go, in a line."""
        self._allotment, self._cluster, self._most, self._say, self._look = allotment, cluster, most, say, look
        self._nodes = list(cluster.nodes)
        self._looked = time.monotonic()
        self._lock = threading.Lock()

    def nodes(self) -> list[Machine]:
        """Those that are there now. Asked for many times a second, by several threads; it looks every few seconds."""
        with self._lock:
            if self._cluster.joined and time.monotonic() - self._looked > LOOK_SECONDS:
                self._looked = time.monotonic()
                self._see(self._look())
            return self._nodes

    def lanes(self) -> int:
        """As many as these hold."""
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
