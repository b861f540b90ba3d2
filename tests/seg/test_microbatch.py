"""Gradients accumulated over parts of a batch: the same step with less memory, the same scores whatever the parts."""

from typing import Any

import pytest
import torch
from torch import nn

from seg import batches, loop, optim
from seg.evaluate import evaluate
from seg.loop import Data, Run
from seg.options import AUGMENTATIONS

CPU = torch.device("cpu")


class NoBatchNorm(nn.Module):
    """Every image by itself, so that parts of a batch must add up to the batch exactly."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 1, 1)
        self.sizes: list[int] = []

    def forward(self, image_N3HW: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(image_N3HW))
        return self.decoder(self.encoder(image_N3HW).relu())


def start(tiny: Data, make_experiment: Any, microbatches: int, **changes: Any) -> Run:
    run = loop.start(make_experiment(precision="fp32", **changes), tiny, CPU, microbatches=microbatches)
    torch.manual_seed(0)
    run.model = run.wrapped = NoBatchNorm()  # type: ignore[assignment]
    run.optimizer = optim.build(run.model, run.experiment)
    return run


def step(run: Run, images: int) -> tuple[float, torch.Tensor, list[torch.Tensor]]:
    """Loss, counts and gradients of one step over the first images."""
    plan = batches.plan_epoch(run.weights_N, images, seed=1, epoch=1, rank=0, world=1, device=CPU)
    loss, counts = loop._step(run, plan.batch(0), *run.data.train.take(plan.batch(0).indices))
    return float(loss), counts, [p.grad.clone() for p in run.model.parameters() if p.grad is not None]


@pytest.mark.parametrize(
    ("images", "microbatches", "sizes"), [(16, 2, [8, 8]), (7, 2, [4, 3]), (5, 3, [2, 2, 1]), (2, 9, [1, 1])]
)
def test_parts_make_the_same_step(
    tiny: Data, make_experiment: Any, images: int, microbatches: int, sizes: list[int]
) -> None:
    whole, parts = start(tiny, make_experiment, 1), start(tiny, make_experiment, microbatches)
    (loss, counts, grads), (loss_p, counts_p, grads_p) = step(whole, images), step(parts, images)
    assert whole.model.sizes == [images] and parts.model.sizes == sizes
    assert loss_p == pytest.approx(loss, rel=1e-6)
    torch.testing.assert_close(counts_p, counts)
    # A bias's gradient is a plain float32 sum over 65,000 pixels; a part left out would be off by its whole share.
    torch.testing.assert_close(grads_p, grads, rtol=1e-3, atol=1e-6)


def test_one_part_is_the_whole_to_the_bit(tiny: Data, make_experiment: Any) -> None:
    """As the golden losses of test_loop hold it too: who does not ask for parts pays nothing for them."""
    run = start(tiny, make_experiment, 1)
    plan = batches.plan_epoch(run.weights_N, 16, seed=1, epoch=1, rank=0, world=1, device=CPU)
    reference = start(tiny, make_experiment, 1)
    images, masks = reference.data.train.take(plan.batch(0).indices)
    from seg import augment

    images, masks = augment.apply(AUGMENTATIONS["flips_rotate"], images, masks, plan.batch(0).draws_ND)
    loss = reference.loss(reference.model(batches.normalise(images, "imagenet")), masks.long())
    loss.backward()
    found, _ = loop._step(run, plan.batch(0), *run.data.train.take(plan.batch(0).indices))
    assert float(found) == float(loss.detach())
    for one, other in zip(run.model.parameters(), reference.model.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)  # type: ignore[arg-type]


@pytest.mark.parametrize("microbatches", [2, 5, 64])
def test_an_evaluation_does_not_depend_on_the_parts(tiny: Data, make_experiment: Any, microbatches: int) -> None:
    """`focal_tversky` pools a batch: its loss must be that of the batch, not of its parts."""
    run = start(tiny, make_experiment, 1, loss="focal_tversky")
    arguments = (run.model, tiny.val, run.experiment, tiny.classes, run.ranks, CPU, run.loss)
    whole, parts = evaluate(*arguments), evaluate(*arguments, microbatches=microbatches)
    assert torch.equal(whole.counts.hard, parts.counts.hard)
    assert parts.loss == pytest.approx(whole.loss, rel=1e-6)
    assert max(run.model.sizes[1:]) <= -(-len(tiny.val) // microbatches) + 1


def test_every_step_gives_a_sign_of_life(tiny: Data, make_experiment: Any) -> None:
    beats = []
    run = loop.start(make_experiment(epochs=1), tiny, CPU, on_step=lambda: beats.append(1))
    next(loop.epochs(run))
    assert len(beats) == -(-len(tiny.train) // 16) + -(-len(tiny.val) // 64)


def test_a_checkpoint_does_not_depend_on_the_parts(tiny: Data, make_experiment: Any) -> None:
    from seg import checkpoint

    run = loop.start(make_experiment(), tiny, CPU, microbatches=2)
    next(loop.epochs(run))
    content = checkpoint.snapshot(run).to_bytes()
    other = loop.start(make_experiment(), tiny, CPU)
    checkpoint.restore(other, content)
    assert other.epoch == 1 and other.microbatches == 1
