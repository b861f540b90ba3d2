"""Oversampling: weights by hand, draws that keep an epoch's length, and what an epoch then holds."""

import pytest
import torch

from seg.batches import draw, report, weights

# Ten images: all hold background, five class 1, two class 2, one of them both.
PIXELS = torch.tensor([[90, 10, 0]] * 4 + [[80, 10, 10]] + [[95, 0, 5]] + [[100, 0, 0]] * 4)


def test_power_zero_weighs_all_alike() -> None:
    assert weights(PIXELS, 0.0).tolist() == [1.0] * 10


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_an_image_weighs_by_the_rarest_class_in_it(power: float) -> None:
    raw = torch.tensor([0.5**-power] * 4 + [0.2**-power] * 2 + [1.0] * 4, dtype=torch.float64)
    assert torch.allclose(weights(PIXELS, power), raw / raw.mean())


def test_a_binary_image_weighs_by_its_bin_of_area() -> None:
    """Areas 0 %, 1 %, 2 %, and five of 20 %: bins of one, one, one and five images."""
    foreground = torch.tensor([0, 10, 20, 200, 200, 200, 200, 200])
    raw = torch.tensor([8.0, 8.0, 8.0] + [8 / 5] * 5, dtype=torch.float64)
    found = weights(torch.stack([1000 - foreground, foreground], dim=1), 1.0)
    assert torch.allclose(found, raw / raw.mean())


def test_an_image_without_a_counted_pixel_is_no_rarity() -> None:
    found = weights(torch.tensor([[10, 5, 5], [10, 0, 0], [0, 0, 0]]), 1.0)
    assert torch.isfinite(found).all() and found[2] < found[0]


@pytest.mark.parametrize("offset", [0.0, 0.3, 0.999])
def test_weights_all_alike_draw_every_image_once(offset: float) -> None:
    assert draw(torch.ones(1000, dtype=torch.float64), offset).tolist() == list(range(1000))


@pytest.mark.parametrize("offset", [0.0, 0.4, 0.99])
def test_an_image_comes_up_its_weight_rounded_up_or_down(offset: float) -> None:
    wanted = weights(PIXELS, 1.0)
    found = torch.bincount(draw(wanted, offset), minlength=10)
    assert found.sum() == 10
    assert ((found == wanted.floor()) | (found == wanted.ceil())).all()


def test_over_many_offsets_the_mean_is_the_weight() -> None:
    wanted = weights(PIXELS, 0.7)
    found = sum(torch.bincount(draw(wanted, k / 500), minlength=10) for k in range(500))
    assert torch.allclose(found.double() / 500, wanted, atol=0.01)


def test_report_by_hand() -> None:
    found = report(PIXELS, torch.tensor([0.0] * 4 + [5.0, 5.0] + [0.0] * 4, dtype=torch.float64))
    assert found["image_share"] == pytest.approx([1.0, 0.5, 0.2])
    assert found["pixel_share"] == pytest.approx([0.935, 0.05, 0.015])
    assert found["sampled_image_share"] == pytest.approx([1.0, 0.5, 1.0])
    assert found["sampled_pixel_share"] == pytest.approx([175 / 200, 10 / 200, 15 / 200])
