import pytest
import torch
import torch.nn.functional as F
import torchvision.transforms.functional as TF
from torch import Tensor

from seg import augment
from seg.augment import DRAWS, apply, draw
from seg.options import AUGMENTATIONS, Augmentation


def pairs(images: int = 6, height: int = 32, width: int = 32) -> tuple[Tensor, Tensor]:
    """Masks, and images that show them: where an image and its mask move together, they go on agreeing."""
    masks = (torch.rand(images, height // 8, width // 8) < 0.4).to(torch.uint8)
    masks = masks.repeat_interleave(8, 1).repeat_interleave(8, 2)
    return masks.unsqueeze(1).expand(-1, 3, -1, -1).float(), masks


def draws(images: int, seed: int = 0) -> Tensor:
    return draw(images, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_image_and_mask_move_together(name: str) -> None:
    images, masks = apply(AUGMENTATIONS[name], *pairs(), draws(6))
    agree = (images[:, 0] > 0.5) == masks.bool()
    assert agree.float().mean() > 0.98  # bilinear against nearest differ on edges
    assert set(masks.unique().tolist()) <= {0, 1}


def test_none_is_bitwise_the_same() -> None:
    images, masks = pairs()
    same_images, same_masks = apply(AUGMENTATIONS["none"], images, masks, draws(6))
    assert torch.equal(images, same_images) and torch.equal(masks, same_masks)


def test_flips_are_exact_and_each_image_has_its_own() -> None:
    images, masks = torch.rand(64, 3, 8, 8), torch.randint(0, 2, (64, 8, 8), dtype=torch.uint8)
    turned, _ = apply(AUGMENTATIONS["flips"], images, masks, draws(64))
    kinds = [images, images.flip(-1), images.flip(-2), images.flip(-1, -2)]
    which = torch.stack([(turned == kind).flatten(1).all(1) for kind in kinds])
    assert (which.sum(0) == 1).all()
    assert (which.sum(1) > 5).all()


@pytest.mark.parametrize(("chance", "turns"), [(1.0, 1), (0.0, -1)])
def test_a_quarter_turn_equals_rot90(chance: float, turns: int) -> None:
    images, masks = torch.rand(2, 3, 16, 16), torch.randint(0, 6, (2, 16, 16), dtype=torch.uint8)
    turned, turned_masks = apply(Augmentation(rotation_degrees=90), images, masks, torch.full((2, DRAWS), chance))
    assert torch.allclose(turned, images.rot90(turns, (-2, -1)), atol=1e-4)
    assert torch.equal(turned_masks, masks.rot90(turns, (-2, -1)))


def test_a_mask_keeps_its_classes_and_its_ignored_pixels() -> None:
    masks = torch.tensor([0, 2, 4, 255], dtype=torch.uint8)[torch.randint(0, 4, (8, 16, 16))]
    _, turned = apply(AUGMENTATIONS["flips_rotate"], torch.rand(8, 3, 16, 16), masks, draws(8))
    assert set(turned.unique().tolist()) == {0, 2, 4, 255}


def test_corners_are_filled_with_the_reflection_in_image_and_mask_alike() -> None:
    masks = torch.zeros(1, 32, 32, dtype=torch.uint8)
    masks[:, :8] = 1  # along the upper edge: turned by 45 degrees, a corner lies beyond it
    images = masks.unsqueeze(1).expand(-1, 3, -1, -1).float()
    turned, turned_masks = apply(Augmentation(rotation_degrees=45), images, masks, torch.ones(1, DRAWS))
    y, x = torch.meshgrid(torch.arange(32.0) - 15.5, torch.arange(32.0) - 15.5, indexing="ij")
    row = (x + y) / 2**0.5 + 15.5  # the row of the original that each pixel shows
    row = torch.where(row < -0.5, -1 - row, row)
    expected = (row < 7.5) & (row > -0.5)
    assert ((turned_masks[0] == 1) == expected).float().mean() > 0.97
    assert ((turned[0, 0] > 0.5) == expected).float().mean() > 0.97


def test_no_rotation_is_the_identity() -> None:
    images, masks = torch.rand(2, 3, 16, 24), torch.randint(0, 2, (2, 16, 24), dtype=torch.uint8)
    same, same_masks = apply(Augmentation(rotation_degrees=60), images, masks, torch.full((2, DRAWS), 0.5))
    assert torch.allclose(same, images, atol=1e-5) and torch.equal(same_masks, masks)


def test_a_rotated_disc_stays_a_disc_on_an_oblong_image() -> None:
    y, x = torch.meshgrid(torch.arange(60.0), torch.arange(100.0), indexing="ij")
    radius = ((y - 29.5) ** 2 + (x - 49.5) ** 2).sqrt()
    mask = (radius < 20).to(torch.uint8).unsqueeze(0)
    image = mask.unsqueeze(1).expand(-1, 3, -1, -1).float()
    _, turned = apply(Augmentation(rotation_degrees=60), image, mask, torch.full((1, DRAWS), 0.9))
    within = radius < 29  # further out, what came in from outside is the disc's own reflection
    assert (turned != mask)[0, within].float().mean() < 0.02


def test_an_image_is_augmented_the_same_in_any_batch() -> None:
    images, masks = pairs(8)
    rows = draws(8)
    whole, _ = apply(AUGMENTATIONS["flips_rotate"], images, masks, rows)
    part, _ = apply(AUGMENTATIONS["flips_rotate"], images[3:5], masks[3:5], rows[3:5])
    assert torch.equal(whole[3:5], part)


def test_the_grid_is_pytorchs_own() -> None:
    radians, zoom = torch.tensor([0.3, -2.0]), torch.tensor([1.2, 0.8])
    cos, sin, none = radians.cos() / zoom, radians.sin() / zoom, torch.zeros(2)
    height, width = 6, 9
    rows = torch.stack([cos, -sin * height / width, none, sin * width / height, cos, none], dim=1)
    wanted = F.affine_grid(rows.view(-1, 2, 3), [2, 1, height, width], align_corners=False)
    torch.testing.assert_close(augment._grid(height, width, radians, zoom), wanted)


@pytest.mark.parametrize(("chance", "area"), [(1.0, 1.5625), (0.0, 0.64)])
def test_a_zoom_changes_areas_by_its_square(chance: float, area: float) -> None:
    masks = torch.zeros(1, 200, 200, dtype=torch.uint8)
    masks[:, 70:130, 60:140] = 1
    draws = torch.full((1, DRAWS), 0.5)
    draws[:, 3] = chance
    images, turned = apply(Augmentation(zoom=1.25), masks.unsqueeze(1).expand(-1, 3, -1, -1).float(), masks, draws)
    assert turned.sum().item() == pytest.approx(area * masks.sum().item(), rel=0.03)
    assert ((images[:, 0] > 0.5) == turned.bool()).float().mean() > 0.99


@pytest.mark.parametrize("which", [4, 5, 6])
@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_colours_are_torchvisions(which: int, chance: float) -> None:
    """Where nothing has to be cut off at 0 or 1."""
    images = 0.4 + 0.2 * torch.rand(2, 3, 8, 8)
    draws = torch.full((2, DRAWS), 0.5)
    draws[:, which] = chance
    changed, _ = apply(Augmentation(colour=0.3), images, torch.zeros(2, 8, 8, dtype=torch.uint8), draws)
    theirs = (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation)[which - 4]
    torch.testing.assert_close(changed, theirs(images, 0.7 + 0.6 * chance), rtol=0, atol=1e-5)


def test_all_colours_at_once_are_one_after_the_other() -> None:
    images = 0.45 + 0.1 * torch.rand(1, 3, 8, 8)
    changed, _ = apply(Augmentation(colour=0.2), images, torch.zeros(1, 8, 8, dtype=torch.uint8), torch.ones(1, DRAWS))
    wanted = TF.adjust_saturation(TF.adjust_contrast(TF.adjust_brightness(images, 1.2), 1.2), 1.2)
    torch.testing.assert_close(changed, wanted, rtol=0, atol=1e-5)


def test_what_came_later_leaves_the_first_draws_as_they_were() -> None:
    assert torch.equal(draws(5, seed=3)[:, :3], torch.rand(5, 3, generator=torch.Generator().manual_seed(3)))
