"""Lanes on machines of every size: what fits is used, what does not is refused with what would."""

import pytest
from own_specs import SEARCHED

from study.lanes.resources import Allotment, Cluster, Machine, ResourceError, allot
from study.spec import Spec, load_spec


def spec(**resources: object) -> Spec:
    return load_spec(SEARCHED, ["trials=50", *(f"resources.{key}={value}" for key, value in resources.items())])


def cluster(*cpus_and_gpus: int) -> Cluster:
    """Of nodes with so many cores and GPUs each."""
    pairs = zip(cpus_and_gpus[::2], cpus_and_gpus[1::2], strict=True)
    return Cluster(tuple(Machine(cpus, gpus) for cpus, gpus in pairs))


@pytest.mark.parametrize(
    ("machine", "resources", "expected"),
    [
        # CPUs only: four cores a lane, whatever gpus_per_worker says
        (cluster(1, 0), {}, Allotment(1, 1, 0.0, 1)),
        (cluster(2, 0), {}, Allotment(1, 1, 0.0, 2)),
        (cluster(16, 0), {}, Allotment(4, 1, 0.0, 4)),
        (cluster(16, 0), {"gpus_per_worker": 2}, Allotment(4, 1, 0.0, 4)),
        (cluster(2, 0), {"lanes": 2}, Allotment(2, 1, 0.0, 1)),
        (cluster(2, 0), {"workers_per_trial": 2}, Allotment(1, 2, 0.0, 1)),
        (cluster(16, 0), {"workers_per_trial": 2}, Allotment(2, 2, 0.0, 4)),
        (cluster(7, 0), {"workers_per_trial": 2, "lanes": 3}, Allotment(3, 2, 0.0, 1)),
        # GPUs
        (cluster(16, 1), {}, Allotment(1, 1, 1.0, 16)),
        (cluster(16, 4), {}, Allotment(4, 1, 1.0, 4)),
        (cluster(64, 8), {}, Allotment(8, 1, 1.0, 8)),
        (cluster(64, 8), {"workers_per_trial": 2}, Allotment(4, 2, 1.0, 8)),
        (cluster(64, 8), {"workers_per_trial": 3}, Allotment(2, 3, 1.0, 10)),
        (cluster(64, 8), {"gpus_per_worker": 2}, Allotment(4, 1, 2.0, 16)),
        (cluster(64, 8), {"gpus_per_worker": 2, "workers_per_trial": 2}, Allotment(2, 2, 2.0, 16)),
        (cluster(64, 8), {"lanes": 3}, Allotment(3, 1, 1.0, 21)),
        (cluster(2, 4), {}, Allotment(2, 1, 1.0, 1)),
        # shares of a GPU; a worker's never lies on two
        (cluster(16, 1), {"gpus_per_worker": 0.5}, Allotment(2, 1, 0.5, 8)),
        (cluster(16, 1), {"gpus_per_worker": 0.6}, Allotment(1, 1, 0.6, 16)),
        (cluster(16, 4), {"gpus_per_worker": 0.6}, Allotment(4, 1, 0.6, 4)),
        (cluster(16, 4), {"gpus_per_worker": 0.4}, Allotment(8, 1, 0.4, 2)),
        (cluster(64, 4), {"gpus_per_worker": 0.1}, Allotment(40, 1, 0.1, 1)),
        (cluster(16, 3), {"gpus_per_worker": 0.5, "workers_per_trial": 4}, Allotment(1, 4, 0.5, 4)),
        (cluster(4, 0), {"lanes": "in-process"}, Allotment(1, 1, 0.0, 4, in_process=True)),
        (cluster(16, 2), {"lanes": "in-process"}, Allotment(1, 1, 1.0, 16, in_process=True)),
        (cluster(16, 2), {"lanes": "in-process", "gpus_per_worker": 0.5}, Allotment(1, 1, 0.5, 16, in_process=True)),
        (cluster(16, 2), {"lanes": "in-process", "gpus_per_worker": 0.0}, Allotment(1, 1, 0.0, 16, in_process=True)),
        # several nodes: lanes are whole on one where they can be
        (cluster(2, 0, 2, 0), {}, Allotment(2, 1, 0.0, 2)),
        (cluster(0, 0, 2, 0, 2, 0), {}, Allotment(2, 1, 0.0, 2)),
        (cluster(8, 0, 2, 0), {}, Allotment(5, 1, 0.0, 2)),
        (cluster(3, 0, 3, 0), {"workers_per_trial": 2}, Allotment(2, 2, 0.0, 1)),
        (cluster(8, 1, 8, 1), {}, Allotment(2, 1, 1.0, 8)),
        (cluster(0, 0, 48, 4, 8, 1), {}, Allotment(5, 1, 1.0, 8)),
        (cluster(48, 4, 48, 4), {"workers_per_trial": 3}, Allotment(2, 3, 1.0, 12)),
        # workers_per_trial exceeds every node: a lane over several
        (cluster(1, 0, 1, 0), {"workers_per_trial": 2}, Allotment(1, 2, 0.0, 1, one_node=False)),
        (cluster(48, 4, 48, 4), {"workers_per_trial": 8}, Allotment(1, 8, 1.0, 12, one_node=False)),
        # nodes that are there only on demand
        (Cluster((Machine(0, 0),), later=(Machine(8, 1),) * 10), {}, Allotment(10, 1, 1.0, 8)),
        (Cluster((Machine(2, 0),), later=(Machine(2, 0),)), {"lanes": 2}, Allotment(2, 1, 0.0, 2)),
        # GPUs there, not wanted
        (cluster(16, 4), {"gpus_per_worker": 0}, Allotment(4, 1, 0.0, 4)),
    ],
)
def test_allotment(machine: Cluster, resources: dict[str, object], expected: Allotment) -> None:
    assert allot(spec(**resources), machine) == expected


def test_few_trials_do_not_ask_for_the_largest_nodes() -> None:
    few = load_spec(SEARCHED, ["trials=3", "finalists=1", "resources.gpus_per_worker=0"])
    added = Cluster((Machine(0, 0),), later=(Machine(48, 4), *[Machine(4, 1)] * 4))
    assert allot(few, added) == Allotment(3, 1, 0.0, 4)


@pytest.mark.parametrize("machine", [cluster(16, 0), cluster(16, 8)])
def test_no_more_lanes_than_trials(machine: Cluster) -> None:
    few = load_spec(SEARCHED, ["trials=2", "finalists=1"])
    assert allot(few, machine).lanes == 2 and allot(few, machine).threads == 8


@pytest.mark.parametrize(
    ("machine", "resources", "message"),
    [
        (
            cluster(2, 0),
            {"lanes": 9},
            "--lanes 9: does not fit: there are 2 CPU cores and no GPUs, room for 2 lanes of 1 worker; "
            "use --lanes 2 or fewer",
        ),
        (
            cluster(16, 1),
            {"lanes": 2},
            "--lanes 2: does not fit: there are 16 CPU cores and 1 GPU, room for 1 lane of 1 worker; "
            "use --lanes 1 or fewer",
        ),
        (
            cluster(1, 0),
            {"workers_per_trial": 2},
            "--workers-per-trial 2: a trial needs 2 CPU cores and no GPUs, but there are 1 CPU core and no GPUs; "
            "use fewer --workers-per-trial",
        ),
        (
            cluster(16, 1),
            {"workers_per_trial": 2},
            "--workers-per-trial 2: a trial needs 2 CPU cores and 2 GPUs, but there are 16 CPU cores and 1 GPU; "
            "use a smaller --gpus-per-worker or --workers-per-trial",
        ),
        (
            cluster(16, 1),
            {"gpus_per_worker": 2},
            "--workers-per-trial 1: a trial needs 1 CPU core and 2 GPUs, but there are 16 CPU cores and 1 GPU; "
            "use a smaller --gpus-per-worker",
        ),
    ],
)
def test_what_does_not_fit(machine: Cluster, resources: dict[str, object], message: str) -> None:
    with pytest.raises(ResourceError) as caught:
        allot(spec(**resources), machine)
    assert str(caught.value) == message


@pytest.mark.parametrize("share", [1 / 2, 1 / 3, 0.34, 0.3, 0.25, 0.21, 0.7, 1.0])
@pytest.mark.parametrize("gpus", [1, 4, 8])
def test_every_share_lies_on_one_gpu(share: float, gpus: int) -> None:
    """Filling GPU after GPU with whole shares holds every worker that was allotted."""
    allotment = allot(spec(gpus_per_worker=share), cluster(64, gpus))
    free = [1.0] * gpus
    for _ in range(allotment.lanes * allotment.workers):
        place = next(gpu for gpu in range(gpus) if free[gpu] >= share - 1e-9)
        free[place] -= share
    assert all(rest < share - 1e-9 for rest in free), "room is left for another lane"


@pytest.mark.parametrize(
    ("allotment", "nodes", "room"),
    [
        (Allotment(9, 1, 0.0, 2), cluster(0, 0, 5, 0, 2, 0), 3),
        (Allotment(9, 2, 0.0, 1), cluster(3, 0, 3, 0), 2),
        (Allotment(9, 4, 0.0, 1, one_node=False), cluster(3, 0, 3, 0), 1),
        (Allotment(9, 2, 1.0, 1), cluster(8, 1, 8, 1), 0),  # whole on one node, and the node that held them has left
        (Allotment(9, 1, 0.25, 4), cluster(16, 2, 1, 1), 9),
        (Allotment(9, 1, 1.0, 4), cluster(), 0),
    ],
)
def test_room_on_the_nodes_that_are_there(allotment: Allotment, nodes: Cluster, room: int) -> None:
    assert allotment.room(nodes.nodes) == room


def test_how_it_reads() -> None:
    assert str(cluster(2, 1)) == "2 CPU cores and 1 GPU"
    assert str(cluster(0, 0, 2, 0)) == "2 CPU cores and no GPUs on 2 nodes"
    later = Cluster((Machine(0, 0),), later=(Machine(8, 1),) * 10)
    assert str(later) == "0 CPU cores and no GPUs, and 10 nodes to be added on demand"
    assert str(Allotment(2, 1, 0.0, 4)) == "2 lanes of 1 worker, 4 CPU threads a worker"
    assert str(Allotment(1, 2, 0.5, 4)) == "1 lane of 2 workers, 0.5 GPU a worker"
