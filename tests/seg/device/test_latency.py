"""What a model takes for an image, with a model whose time is known."""

import time

import pytest
import torch
from torch import Tensor, nn

from seg import models
from seg.device import latency
from seg.device.latency import MIN_PASSES, PASSES, WARM_UPS, median_ms

CPU = torch.device("cpu")


class Sleeper(nn.Module):
    """Takes 200 ms at first, then 2 ms, but every fourth time 200 ms, as a busy machine makes it."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[torch.Size] = []
        self.trained = False

    def forward(self, images_N3HW: Tensor) -> Tensor:
        self.trained |= self.training or torch.is_grad_enabled()
        self.shapes.append(images_N3HW.shape)
        passes = len(self.shapes)
        time.sleep(0.2 if passes <= WARM_UPS or passes % 4 == 0 else 0.002)
        return images_N3HW


def test_the_median_of_passes_once_warm() -> None:
    sleeper = Sleeper()
    assert 2 <= median_ms(sleeper, 96, CPU) < 150
    assert sleeper.shapes == [(1, 3, 96, 96)] * (WARM_UPS + PASSES) and not sleeper.trained


def test_a_slow_model_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "BOUND_SECONDS", 0.001)
    sleeper = Sleeper()
    assert 2 <= median_ms(sleeper, 64, CPU) < 150
    assert len(sleeper.shapes) == WARM_UPS + MIN_PASSES


@pytest.mark.parametrize("name", ["mobilenetv2_skip", "deeplabv3_mobilenetv3"])
def test_measuring_changes_neither_the_model_nor_what_is_drawn_next(name: str) -> None:
    model = models.build(name, classes=2)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    assert median_ms(model, 64, CPU) > 0
    assert torch.equal(torch.rand(4), expected)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
