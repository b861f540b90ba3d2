import pytest
import torch

from seg import batches
from seg.batches import normalise, plan_epoch

CPU = torch.device("cpu")


def plans(images: int, batch_size: int, world: int, epoch: int = 1) -> list:
    return plans_of(torch.ones(images, dtype=torch.float64), batch_size, world, epoch)


def plans_of(weights: torch.Tensor, batch_size: int, world: int, epoch: int = 1) -> list:
    return [plan_epoch(weights, batch_size, seed=7, epoch=epoch, rank=r, world=world, device=CPU) for r in range(world)]


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize(("images", "batch_size"), [(20, 6), (18, 6), (23, 5), (7, 16)])
def test_every_image_once_an_epoch_over_all_ranks(images: int, batch_size: int, world: int) -> None:
    ranks = plans(images, batch_size, world)
    seen = torch.cat([plan.batch(step).indices for plan in ranks for step in range(plan.steps)])
    rest = images % batch_size
    left_out = rest if 0 < rest < world else 0  # a rank would have nothing to do
    assert len(seen) == len(seen.unique()) == images - left_out


@pytest.mark.parametrize("world", [2, 3])
def test_the_ranks_shares_of_a_step_are_the_single_ranks_step(world: int) -> None:
    (alone,), ranks = plans(23, 6, 1), plans(23, 6, world)
    for step in range(alone.steps):
        whole, parts = alone.batch(step), [plan.batch(step) for plan in ranks]
        assert set(whole.indices.tolist()) == {i for part in parts for i in part.indices.tolist()}
        draws = {i: tuple(row) for i, row in zip(whole.indices.tolist(), whole.draws_ND.tolist(), strict=True)}
        for part in parts:
            for i, row in zip(part.indices.tolist(), part.draws_ND.tolist(), strict=True):
                assert draws[i] == tuple(row)
        assert sum(part.share for part in parts) / world == pytest.approx(1)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_oversampled_images_are_shared_out_by_position(world: int) -> None:
    """One image makes up a third of the epoch; over all ranks every position comes up once, with that image in it."""
    weights = torch.tensor([8.0] + [16 / 23] * 23, dtype=torch.float64)
    (alone,), ranks = plans_of(weights, 6, 1), plans_of(weights, 6, world)
    batches_ = [plan.batch(step) for plan in ranks for step in range(plan.steps)]
    positions = torch.cat([batch.positions for batch in batches_])
    assert sorted(positions.tolist()) == list(range(24))
    assert torch.equal(alone.order[positions], torch.cat([batch.indices for batch in batches_]))
    assert torch.equal(alone.draws_ND[positions], torch.cat([batch.draws_ND for batch in batches_]))
    assert (alone.order == 0).sum() == 8


def test_copies_of_an_image_are_augmented_each_its_own_way() -> None:
    plan = plans_of(torch.tensor([4.0, 0.0, 0.0, 0.0], dtype=torch.float64), 2, 1)[0]
    assert plan.order.tolist() == [0, 0, 0, 0] and len(plan.draws_ND.unique(dim=0)) == 4


def test_order_differs_by_epoch_and_repeats_by_seed() -> None:
    first, again, second = plans(40, 8, 1)[0], plans(40, 8, 1)[0], plans(40, 8, 1, epoch=2)[0]
    assert torch.equal(first.order, again.order) and torch.equal(first.draws_ND, again.draws_ND)
    assert not torch.equal(first.order, second.order)


def test_more_workers_than_images_are_refused() -> None:
    with pytest.raises(ValueError, match="2 training images cannot be shared by 3 workers"):
        plan_epoch(torch.ones(2), 4, 0, 1, 0, 3, CPU)


def test_more_workers_than_images_of_a_batch_are_refused() -> None:
    with pytest.raises(ValueError, match="batch_size: 2 images cannot be shared by 3 workers"):
        plan_epoch(torch.ones(20), 2, 0, 1, 0, 3, CPU)


def test_imagenet_normalisation() -> None:
    white = torch.ones(1, 3, 1, 1)
    assert normalise(white, "unit") is white
    expected = [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert normalise(white, "imagenet").flatten().tolist() == pytest.approx(expected)


@pytest.mark.parametrize("how", ["unit", "imagenet"])
def test_bytes_and_floats_are_normalised_to_the_same_bits(how: str) -> None:
    every = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    floats = every.float() / 255
    assert torch.equal(normalise(every, how), normalise(floats, how))
    assert every[0, 0, 0, 1] == 1 and floats.max() == 1


def test_constants_made_while_scoring_serve_training() -> None:
    """They are made once a device; autograd refuses to keep tensors that were made in inference mode."""
    batches._imagenet.cache_clear()
    with torch.inference_mode():
        normalise(torch.ones(1, 3, 1, 1), "imagenet")
    pixels = torch.ones(1, 3, 1, 1, requires_grad=True)
    normalise(pixels, "imagenet").sum().backward()
    assert pixels.grad is not None
