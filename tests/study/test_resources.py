"""Lanes on machines of every size: what fits is used, what does not is refused with what would."""

import pytest

from study.resources import Allotment, Machine, ResourceError, allot
from study.spec import Spec, load_spec


def spec(**resources: object) -> Spec:
    return load_spec("phantom", ["trials=50", *(f"resources.{key}={value}" for key, value in resources.items())])


@pytest.mark.parametrize(
    ("machine", "resources", "expected"),
    [
        # CPUs only: four cores a lane, whatever gpus_per_worker says
        (Machine(1, 0), {}, Allotment(1, 1, 0.0, 1)),
        (Machine(2, 0), {}, Allotment(1, 1, 0.0, 2)),
        (Machine(16, 0), {}, Allotment(4, 1, 0.0, 4)),
        (Machine(16, 0), {"gpus_per_worker": 2}, Allotment(4, 1, 0.0, 4)),
        (Machine(2, 0), {"lanes": 2}, Allotment(2, 1, 0.0, 1)),
        (Machine(2, 0), {"workers_per_trial": 2}, Allotment(1, 2, 0.0, 1)),
        (Machine(16, 0), {"workers_per_trial": 2}, Allotment(2, 2, 0.0, 4)),
        (Machine(7, 0), {"workers_per_trial": 2, "lanes": 3}, Allotment(3, 2, 0.0, 1)),
        # GPUs
        (Machine(16, 1), {}, Allotment(1, 1, 1.0, 16)),
        (Machine(16, 4), {}, Allotment(4, 1, 1.0, 4)),
        (Machine(64, 8), {}, Allotment(8, 1, 1.0, 8)),
        (Machine(64, 8), {"workers_per_trial": 2}, Allotment(4, 2, 1.0, 8)),
        (Machine(64, 8), {"workers_per_trial": 3}, Allotment(2, 3, 1.0, 10)),
        (Machine(64, 8), {"gpus_per_worker": 2}, Allotment(4, 1, 2.0, 16)),
        (Machine(64, 8), {"gpus_per_worker": 2, "workers_per_trial": 2}, Allotment(2, 2, 2.0, 16)),
        (Machine(64, 8), {"lanes": 3}, Allotment(3, 1, 1.0, 21)),
        (Machine(2, 4), {}, Allotment(2, 1, 1.0, 1)),
        # shares of a GPU; a worker's never lies on two
        (Machine(16, 1), {"gpus_per_worker": 0.5}, Allotment(2, 1, 0.5, 8)),
        (Machine(16, 1), {"gpus_per_worker": 0.6}, Allotment(1, 1, 0.6, 16)),
        (Machine(16, 4), {"gpus_per_worker": 0.6}, Allotment(4, 1, 0.6, 4)),
        (Machine(16, 4), {"gpus_per_worker": 0.4}, Allotment(8, 1, 0.4, 2)),
        (Machine(64, 4), {"gpus_per_worker": 0.1}, Allotment(40, 1, 0.1, 1)),
        (Machine(16, 3), {"gpus_per_worker": 0.5, "workers_per_trial": 4}, Allotment(1, 4, 0.5, 4)),
        # GPUs there, not wanted
        (Machine(16, 4), {"gpus_per_worker": 0}, Allotment(4, 1, 0.0, 4)),
    ],
)
def test_allotment(machine: Machine, resources: dict[str, object], expected: Allotment) -> None:
    assert allot(spec(**resources), machine) == expected


@pytest.mark.parametrize("machine", [Machine(16, 0), Machine(16, 8)])
def test_no_more_lanes_than_trials(machine: Machine) -> None:
    few = load_spec("phantom", ["trials=2", "finalists=1"])
    assert allot(few, machine).lanes == 2 and allot(few, machine).threads == 8


@pytest.mark.parametrize(
    ("machine", "resources", "message"),
    [
        (
            Machine(2, 0),
            {"lanes": 9},
            "--lanes 9: does not fit: there are 2 CPU cores and no GPUs, room for 2 lanes of 1 worker; "
            "use --lanes 2 or fewer",
        ),
        (
            Machine(16, 1),
            {"lanes": 2},
            "--lanes 2: does not fit: there are 16 CPU cores and 1 GPU, room for 1 lane of 1 worker; "
            "use --lanes 1 or fewer",
        ),
        (
            Machine(1, 0),
            {"workers_per_trial": 2},
            "--workers-per-trial 2: a trial needs 2 CPU cores and no GPUs, but there are 1 CPU core and no GPUs; "
            "use fewer --workers-per-trial",
        ),
        (
            Machine(16, 1),
            {"workers_per_trial": 2},
            "--workers-per-trial 2: a trial needs 2 CPU cores and 2 GPUs, but there are 16 CPU cores and 1 GPU; "
            "use a smaller --gpus-per-worker or --workers-per-trial",
        ),
        (
            Machine(16, 1),
            {"gpus_per_worker": 2},
            "--workers-per-trial 1: a trial needs 1 CPU core and 2 GPUs, but there are 16 CPU cores and 1 GPU; "
            "use a smaller --gpus-per-worker",
        ),
    ],
)
def test_what_does_not_fit(machine: Machine, resources: dict[str, object], message: str) -> None:
    with pytest.raises(ResourceError) as caught:
        allot(spec(**resources), machine)
    assert str(caught.value) == message


@pytest.mark.parametrize("share", [1 / 2, 1 / 3, 0.34, 0.3, 0.25, 0.21, 0.7, 1.0])
@pytest.mark.parametrize("gpus", [1, 4, 8])
def test_every_share_lies_on_one_gpu(share: float, gpus: int) -> None:
    """Filling GPU after GPU with whole shares holds every worker that was allotted."""
    allotment = allot(spec(gpus_per_worker=share), Machine(64, gpus))
    free = [1.0] * gpus
    for _ in range(allotment.lanes * allotment.workers):
        place = next(gpu for gpu in range(gpus) if free[gpu] >= share - 1e-9)
        free[place] -= share
    assert all(rest < share - 1e-9 for rest in free), "room is left for another lane"


def test_how_it_reads() -> None:
    assert str(Allotment(2, 1, 0.0, 4)) == "2 lanes of 1 worker, 4 CPU threads a worker"
    assert str(Allotment(1, 2, 0.5, 4)) == "1 lane of 2 workers, 0.5 GPU a worker"
