from collections.abc import Callable
from typing import Any

import pytest
import torch
from run_state import same, weights

from seg import batches, loop
from seg.loop import Data
from seg.losses import bce
from seg.options import SCHEDULES

CPU = torch.device("cpu")


def test_encoder_and_decoder_are_two_groups_of_every_parameter_once(tiny: Data, make_experiment: Any) -> None:
    run = loop.start(make_experiment(weight_decay=0.01), tiny, CPU)
    groups = {group["name"]: group for group in run.optimizer.param_groups}
    assert {name: (group["lr"], group["weight_decay"]) for name, group in groups.items()} == {
        "encoder": (1e-4, 0.01),
        "decoder": (1e-3, 0.01),
    }
    assert {id(p) for p in groups["encoder"]["params"]} == {id(p) for p in run.model.encoder.parameters()}
    within = [id(p) for group in groups.values() for p in group["params"]]
    assert sorted(within) == sorted(id(p) for p in run.model.parameters())


def test_a_frozen_encoder_keeps_weights_and_statistics(tiny: Data, make_experiment: Any) -> None:
    run = loop.start(make_experiment(encoder_freeze=True, encoder_lr=None), tiny, CPU)
    before = weights(run)
    next(loop.epochs(run))
    after = weights(run)
    encoder = [name for name in before if name.startswith("encoder.")]
    assert all(torch.equal(before[name], after[name]) for name in encoder)
    assert not same(before, after)
    assert all(p.grad is None for p in run.model.encoder.parameters())
    assert [group["name"] for group in run.optimizer.param_groups] == ["decoder"]
    assert run.params == (1_594_314, 2_223_872)


def test_a_trained_encoder_changes_weights_and_statistics(tiny: Data, make_experiment: Any) -> None:
    run = loop.start(make_experiment(), tiny, CPU)
    before = weights(run)
    next(loop.epochs(run))
    after = weights(run)
    for name in ("encoder.0.0.weight", "encoder.0.1.running_mean"):
        assert not torch.equal(before[name], after[name])


def test_two_learning_rates_follow_the_cosine(tiny: Data, make_experiment: Any) -> None:
    run = loop.start(make_experiment(epochs=2), tiny, CPU)
    first, second = (result.rates for result in loop.epochs(run))
    steps = -(-len(tiny.train) // 16)
    for name, initial in (("encoder", 1e-4), ("decoder", 1e-3)):
        assert first[name] == pytest.approx(initial * SCHEDULES["cosine"](steps - 1, 2 * steps))
        assert second[name] == pytest.approx(initial * SCHEDULES["cosine"](2 * steps - 1, 2 * steps))


@pytest.mark.parametrize(("name", "reference"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_steps_are_those_of_torchs_own_optimiser(
    tiny: Data, make_experiment: Any, name: str, reference: Callable[..., torch.optim.Optimizer]
) -> None:
    """Two groups with two rates against two optimisers, bitwise after every step."""
    chosen = make_experiment(optimizer=name, encoder_lr=1e-3, decoder_lr=5e-3, weight_decay=0.01)
    run, other = loop.start(chosen, tiny, CPU), loop.start(chosen, tiny, CPU)
    plain = [
        reference(part.parameters(), lr=rate, weight_decay=0.01, fused=True)
        for part, rate in ((other.model.encoder, 1e-3), (other.model.decoder, 5e-3))
    ]
    pixels, masks = tiny.train.take(torch.arange(4))
    images = batches.normalise(pixels, "unit")
    for _ in range(3):
        for trained, optimizers in ((run, [run.optimizer]), (other, plain)):
            trained.model.eval().zero_grad()
            bce(trained.model(images), masks.long()).backward()
            for optimizer in optimizers:
                optimizer.step()
        assert same(weights(run), weights(other))
