"""Room for lanes as nodes come and go, and what an autoscaler may add."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from study.lanes import cluster
from study.lanes.cluster import LaneCapacity
from study.lanes.resources import Allotment, Cluster, Machine, ResourceError

ONE_GPU = Machine(8, 1)


class Nodes:
    """The nodes of a cluster, as Ray would tell of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *nodes: Machine):
        self.now, self.said, self._seconds = list(nodes), list[str](), 0.0
        monkeypatch.setattr(cluster.time, "monotonic", lambda: self._seconds)

    def room(self, allotment: Allotment, most: int, **more: Any) -> LaneCapacity:
        return LaneCapacity(
            allotment, Cluster(tuple(self.now), joined=True, **more), most, self.said.append, lambda: self.now
        )

    def become(self, *nodes: Machine) -> None:
        self.now = list(nodes)
        self._seconds += cluster.LOOK_SECONDS + 0.1


def test_lanes_follow_the_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = Nodes(monkeypatch, ONE_GPU, ONE_GPU)
    room = nodes.room(Allotment(2, 1, 1.0, 8), most=5)
    seen = [room.lanes()]
    for count in (3, 1, 0, 9):
        nodes.become(*[ONE_GPU] * count)
        seen.append(room.lanes())
    assert seen == [2, 3, 1, 0, 5]
    assert nodes.said == [
        "1 node joined: room for 3 lanes now",
        "2 nodes left: room for 1 lane now",
        "1 node left: room for no lane now; trials wait for a node",
        "9 nodes joined: room for 5 lanes now",
    ]


def test_a_node_of_another_kind_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = Nodes(monkeypatch, ONE_GPU)
    room = nodes.room(Allotment(1, 1, 1.0, 8), most=9)
    nodes.become(Machine(48, 4))
    assert room.lanes() == 4


def test_where_nodes_are_added_on_demand_waiting_lanes_are_the_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = Nodes(monkeypatch, Machine(0, 0))
    room = nodes.room(Allotment(6, 1, 1.0, 8), most=50, later=(ONE_GPU,) * 6, elastic=True)
    assert room.lanes() == 6
    nodes.become(Machine(0, 0), ONE_GPU)
    assert room.lanes() == 6


def test_a_study_that_finds_all_nodes_there_still_asks_for_those_that_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = Nodes(monkeypatch, Machine(0, 0), *[ONE_GPU] * 3)
    room = nodes.room(Allotment(3, 1, 1.0, 8), most=50, elastic=True)
    nodes.become(Machine(0, 0), ONE_GPU)
    assert room.lanes() == 3


def test_a_folder_is_no_storage_for_machines_that_are_added(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"added on demand do not see this folder; .*s3://bucket/prefix"):
        cluster.check_seen(tmp_path, Cluster((Machine(0, 0),), joined=True, elastic=True))


def test_a_ray_of_our_own_is_not_looked_at() -> None:
    def refuse() -> list[Machine]:
        raise AssertionError("looked")

    room = LaneCapacity(Allotment(2, 1, 0.0, 2), Cluster((Machine(4, 0),)), 2, print, refuse)
    assert room.lanes() == 2


@pytest.mark.parametrize(
    ("most", "there", "fours", "ones"), [(20, 0, 3, 8), (5, 0, 3, 2), (20, 2, 3, 6), (5, 2, 3, 0), (2, 2, 0, 0)]
)
def test_what_an_autoscaler_may_add(
    most: int, there: int, fours: int, ones: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From what `ray up` leaves on the head; the head's own kind is not added."""
    kinds = {
        "head": {"resources": {"CPU": 0}},
        "one": {"resources": {"CPU": 8, "GPU": 1}, "max_workers": 8},
        "four": {"resources": {"CPU": 48, "GPU": 4}, "max_workers": 3},
    }
    left = {"available_node_types": kinds, "head_node_type": "head", "max_workers": most}
    (tmp_path / "ray_bootstrap_config.yaml").write_text(yaml.safe_dump(left))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(cluster, "nodes", lambda: [Machine(0, 0)] + [ONE_GPU] * there)
    context = SimpleNamespace(gcs_address="10.0.0.1:6379")
    monkeypatch.setattr(cluster.ray, "get_runtime_context", lambda: context)
    monkeypatch.setattr(cluster.ray.util, "get_node_ip_address", lambda: "10.0.0.1")
    assert cluster.autoscaled_nodes() == [Machine(48, 4)] * fours + [ONE_GPU] * ones
    context.gcs_address = "10.0.0.2:6379"
    assert cluster.autoscaled_nodes() == [], "this is not the head"


def test_ray_tells_of_what_type_a_node_is(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = {"ray.io/node-id": "ab", "ray.io/node-group": "gpu-1"}
    told = [{"Resources": {"CPU": 4.0, "GPU": 1.0}, "Labels": labels}, {"Resources": {"CPU": 2.0}, "Labels": {}}]
    monkeypatch.setattr(cluster, "alive", lambda: told)
    assert [node.kind for node in cluster.nodes()] == ["gpu-1", ""]
    assert cluster.nodes()[0] == Machine(4, 1), "which is no difference between lanes"
