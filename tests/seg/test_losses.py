import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from seg.losses import DEFAULTS, LOSSES, bce, dice, dice_bce

NAMES = list(LOSSES)


def loss_of(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda logits, target: LOSSES[name](logits, target, **DEFAULTS[name])


def sample(channels: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, channels, 5, 4, generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, max(channels, 2), (3, 5, 4), generator=generator)


def reference(name: str, logits: np.ndarray, target: np.ndarray) -> float:
    """Written from the formulas, pixel by pixel, without torch."""
    images, channels = logits.shape[:2]
    cross, dices, pixels = 0.0, [], 0
    for n in range(images):
        for k in range(channels):
            overlap = total = 0.0
            for z, t in zip(logits[n, k].ravel(), target[n].ravel(), strict=True):
                if t == 255:
                    continue
                p, truth = 1 / (1 + math.exp(-z)), float(t == (k if channels > 1 else 1))
                cross -= truth * math.log(p) + (1 - truth) * math.log(1 - p)
                overlap, total, pixels = overlap + p * truth, total + p + truth, pixels + 1
            dices.append(1 - (2 * overlap + 1) / (total + 1))
    cross /= pixels
    return cross if name == "bce" else DEFAULTS[name]["dice_weight"] * sum(dices) / len(dices) + cross


def test_bce_of_four_pixels_by_hand() -> None:
    logits = torch.tensor([0.0, 0.0, math.log(3), -math.log(3)]).view(1, 1, 2, 2)
    target = torch.tensor([0, 1, 1, 1]).view(1, 2, 2)
    assert bce(logits, target).item() == pytest.approx((2 * math.log(2) - math.log(0.75) - math.log(0.25)) / 4)


def test_dice_of_four_pixels_by_hand() -> None:
    logits = torch.zeros(1, 1, 2, 2)
    target = torch.tensor([0, 0, 1, 1]).view(1, 2, 2)
    assert dice(logits, target).item() == pytest.approx(1 - (2 * 1 + 1) / (2 + 2 + 1))


def test_dice_bce_adds_them_with_the_weight() -> None:
    logits, target = sample(1)
    assert dice_bce(logits, target, 0.3) == pytest.approx(0.3 * dice(logits, target) + bce(logits, target))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 4])
def test_agrees_with_the_formula_pixel_by_pixel(name: str, channels: int) -> None:
    logits, target = sample(channels)
    target[0, 0] = 255
    found = loss_of(name)(logits, target).item()
    assert found == pytest.approx(reference(name, logits.numpy(), target.numpy()), rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 3])
def test_gradient(name: str, channels: int) -> None:
    logits, target = sample(channels)
    target[1, 2] = 255
    loss = loss_of(name)
    assert torch.autograd.gradcheck(lambda z: loss(z, target), (logits.requires_grad_(),))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 3])
def test_ignored_pixels_change_nothing_and_have_no_gradient(name: str, channels: int) -> None:
    logits, target = sample(channels)
    target[:, 0] = 255
    other = logits.clone()
    other[:, :, 0] = 50.0
    loss = loss_of(name)
    assert loss(logits, target) == loss(other, target)
    loss(logits.requires_grad_(), target).backward()
    assert logits.grad is not None and logits.grad[:, :, 0].abs().max() == 0


@pytest.mark.parametrize("name", NAMES)
def test_all_ignored_is_zero_with_zero_gradient(name: str) -> None:
    logits = torch.randn(2, 1, 3, 3, requires_grad=True)
    loss = loss_of(name)(logits, torch.full((2, 3, 3), 255))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None and logits.grad.abs().max() == 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_perfect_prediction_scores_zero(name: str, channels: int) -> None:
    _, target = sample(channels)
    truth = torch.stack([target == k for k in (range(channels) if channels > 1 else [1])], dim=1)
    perfect = truth.double() * 200 - 100
    assert loss_of(name)(perfect, target).item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_an_absent_foreground_gives_a_finite_loss(name: str) -> None:
    assert torch.isfinite(loss_of(name)(torch.randn(2, 1, 3, 3), torch.zeros(2, 3, 3, dtype=torch.int64)))
