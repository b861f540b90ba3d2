import pytest
import torch

from seg.options import SCHEDULES


def test_factors_by_hand() -> None:
    cosine = [SCHEDULES["cosine"](step, 4) for step in range(4)]
    assert cosine == pytest.approx([1, 0.5 + 0.5**1.5, 0.5, 0.5 - 0.5**1.5])
    assert [SCHEDULES["constant"](step, 4) for step in range(4)] == [1] * 4


@pytest.mark.parametrize("steps", [4, 5, 30, 101])
def test_one_cycle_is_pytorchs(steps: int) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2.0, total_steps=steps)
    wanted = []
    for _ in range(steps):
        wanted.append(theirs.get_last_lr()[0] / 2)
        optimizer.step()
        if len(wanted) < steps:
            theirs.step()
    assert [SCHEDULES["one_cycle"](step, steps) for step in range(steps)] == pytest.approx(wanted)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_short_runs_have_a_rate_at_every_step(name: str, steps: int) -> None:
    assert all(0 < SCHEDULES[name](step, steps) <= 1 for step in range(steps))
