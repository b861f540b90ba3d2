import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from seg.losses import LOSSES, bce, bind, ce, class_weights, dice, dice_bce, focal_tversky, weighted_ce
from seg.options import DEFAULTS, LOSS_PARAMETERS

NAMES = list(LOSSES)


def loss_of(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda logits, target: LOSSES[name](logits, target, **DEFAULTS[name])


def sample(channels: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, channels, 5, 4, generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, max(channels, 2), (3, 5, 4), generator=generator)


def reference(name: str, logits: np.ndarray, target: np.ndarray) -> float:
    """Written from the formulas, pixel by pixel, without torch."""
    if name in ("ce", "weighted_ce", "focal_tversky"):
        return softmax_reference(name, logits, target)
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


def softmax_reference(name: str, logits: np.ndarray, target: np.ndarray) -> float:
    """A binary task is two classes, the logit of background being zero."""
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    classes = logits.shape[1]
    counted = [(n, y, x) for n, y, x in np.ndindex(target.shape) if target[n, y, x] != 255]
    odds = np.exp(logits)
    probability = odds / odds.sum(1, keepdims=True)
    if name == "focal_tversky":
        distances = []
        for c in range(classes) if classes > 2 else [1]:
            sums = np.zeros(3)
            for n, y, x in counted:
                p, t = probability[n, c, y, x], float(target[n, y, x] == c)
                sums += p * t, (1 - p) * t, p * (1 - t)
            hits, missed, false = sums
            distances.append(1 - (hits + 1) / (hits + 0.7 * missed + 0.3 * false + 1))
        return float(np.mean([d**0.75 for d in distances]))
    share = [sum(target[place] == c for place in counted) / len(counted) for c in range(classes)]
    raw = [f**-0.5 if name == "weighted_ce" else 1.0 for f in share]
    pairs = [(raw[target[n, y, x]], -math.log(probability[n, target[n, y, x], y, x])) for n, y, x in counted]
    return sum(w * loss for w, loss in pairs) / sum(w for w, _ in pairs)


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
@pytest.mark.parametrize("channels", [1, 3])
def test_a_perfect_prediction_has_a_finite_gradient_and_any_other_scores_worse(name: str, channels: int) -> None:
    _, target = sample(channels)
    truth = torch.stack([target == k for k in (range(channels) if channels > 1 else [1])], dim=1)
    perfect = (truth.double() * 2000 - 1000).requires_grad_()
    loss = loss_of(name)(perfect, target)
    loss.backward()
    assert perfect.grad is not None and torch.isfinite(perfect.grad).all()
    worse = perfect.detach().clone()
    worse[0, :, 0, 0] *= -1
    assert loss_of(name)(worse, target) > loss + 0.01


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 4])
def test_absent_classes_give_no_nan(name: str, channels: int) -> None:
    """Nothing but background, whatever the frequencies that the pack had: the class may be in no training image."""
    logits = torch.randn(2, channels, 3, 3, requires_grad=True)
    frequencies = torch.tensor([0.9, 0.1, 0.0, 0.0][: max(channels, 2)])
    loss = bind(name, DEFAULTS[name], frequencies)(logits, torch.zeros(2, 3, 3, dtype=torch.int64))
    loss.backward()
    assert torch.isfinite(loss) and logits.grad is not None and torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 4])
def test_huge_logits_stay_finite(name: str, channels: int) -> None:
    logits, target = sample(channels)
    huge = (logits.float() * 1e4).requires_grad_()
    loss = loss_of(name)(huge, target)
    loss.backward()
    assert torch.isfinite(loss) and huge.grad is not None and torch.isfinite(huge.grad).all()


@pytest.mark.parametrize("name", NAMES)
def test_an_absent_foreground_gives_a_finite_loss(name: str) -> None:
    assert torch.isfinite(loss_of(name)(torch.randn(2, 1, 3, 3), torch.zeros(2, 3, 3, dtype=torch.int64)))


def test_ce_of_a_binary_task_is_bce() -> None:
    logits, target = sample(1)
    target[0, 1] = 255
    assert ce(logits, target).item() == pytest.approx(bce(logits, target).item(), rel=1e-12)


def test_ce_is_torchs() -> None:
    logits, target = sample(4)
    target[0, 1] = 255
    assert ce(logits, target).item() == pytest.approx(F.cross_entropy(logits, target, ignore_index=255).item())


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_weighted_ce_is_torchs_with_the_weights(power: float) -> None:
    logits, target = sample(4)
    target[0, 1] = 255
    frequencies = torch.tensor([0.7, 0.2, 0.09, 0.01], dtype=torch.float64)
    weights = frequencies**-power
    expected = F.cross_entropy(logits, target, weight=weights, ignore_index=255)
    assert weighted_ce(logits, target, power, frequencies).item() == pytest.approx(expected.item())


def test_weighted_ce_without_weight_is_ce() -> None:
    for channels in (1, 4):
        logits, target = sample(channels)
        assert weighted_ce(logits, target, 0.0).item() == pytest.approx(ce(logits, target).item())


def test_weighted_ce_of_a_binary_task_weighs_the_two_sides() -> None:
    """Three pixels of background at chance, one of foreground at probability 1/4; weights 1/3 to 1."""
    logits = torch.tensor([0.0, 0.0, 0.0, -math.log(3)]).view(1, 1, 2, 2)
    target = torch.tensor([0, 0, 0, 1]).view(1, 2, 2)
    expected = (3 * math.log(2) / 3 + math.log(4)) / (3 / 3 + 1)
    assert weighted_ce(logits, target, 1.0).item() == pytest.approx(expected)


def test_class_weights_by_hand() -> None:
    assert class_weights(torch.tensor([0.8, 0.2]), 1.0).tolist() == pytest.approx([0.4, 1.6])
    assert class_weights(torch.tensor([0.8, 0.2]), 0.0).tolist() == [1.0, 1.0]
    with_absent = class_weights(torch.tensor([0.8, 0.2, 0.0]), 1.0)
    assert with_absent.tolist() == pytest.approx([0.4, 1.6, 1.0])


def test_focal_tversky_of_four_pixels_by_hand() -> None:
    """Probability 1/2 everywhere, two pixels of foreground: TP = FN = FP = 1."""
    logits, target = torch.zeros(1, 1, 2, 2), torch.tensor([0, 0, 1, 1]).view(1, 2, 2)
    assert focal_tversky(logits, target, alpha=0.7, gamma=1.0).item() == pytest.approx(1 - 2 / 3)
    assert focal_tversky(logits, target, alpha=0.7, gamma=2.0).item() == pytest.approx(math.sqrt(1 / 3))


def test_focal_tversky_alpha_is_the_price_of_a_missed_pixel() -> None:
    target = torch.tensor([0, 0, 1, 1]).view(1, 2, 2)
    missing = torch.tensor([-9.0, -9.0, 9.0, -9.0]).view(1, 1, 2, 2)
    inventing = torch.tensor([9.0, -9.0, 9.0, 9.0]).view(1, 1, 2, 2)
    assert focal_tversky(missing, target, alpha=0.9) > focal_tversky(missing, target, alpha=0.1)
    assert focal_tversky(inventing, target, alpha=0.9) < focal_tversky(inventing, target, alpha=0.1)


def test_focal_tversky_at_one_half_and_no_focus_is_dice_of_the_batch() -> None:
    """The added 1 aside: 1 - (TP + 1) / (TP + FN/2 + FP/2 + 1)."""
    logits, target = sample(1)
    p, t = logits.sigmoid()[:, 0], target.double()
    expected = 1 - (2 * (p * t).sum() + 2) / (p.sum() + t.sum() + 2)
    assert focal_tversky(logits, target, alpha=0.5, gamma=1.0).item() == pytest.approx(expected.item())


def test_focal_tversky_sees_the_last_wrong_pixels_in_float32() -> None:
    """Three pixels of a million: as the difference of two sums they would be rounding."""
    target = torch.randint(0, 2, (16, 256, 256), generator=torch.Generator().manual_seed(0))
    logits = (target.unsqueeze(1) * 2 - 1) * 14.0
    logits[0, 0, 0, :3] *= -1
    assert focal_tversky(logits, target).item() == pytest.approx(
        focal_tversky(logits.double(), target).item(), rel=2e-3
    )


def test_bind_hands_the_training_frequencies_to_the_loss_that_weighs_by_them() -> None:
    logits, target = sample(4)
    frequencies = torch.tensor([0.7, 0.2, 0.09, 0.01])
    bound = bind("weighted_ce", {"power": 1.0}, frequencies)
    assert bound(logits, target) == weighted_ce(logits, target, 1.0, frequencies)
    assert bind("ce", {}, frequencies)(logits, target) == ce(logits, target)


def test_every_loss_has_its_parameters_named() -> None:
    assert list(LOSSES) == list(DEFAULTS)


def test_every_parameter_has_a_default_within_its_range() -> None:
    for parameters in DEFAULTS.values():
        for name, value in parameters.items():
            assert not LOSS_PARAMETERS[name].problem(value)
