import json
from pathlib import Path
from typing import Any

import pytest
import torch

from seg import checkpoint, loop, optim
from seg.checkpoint import CheckpointError
from seg.loop import Data, Diverged, Run

CPU = torch.device("cpu")
TIMINGS = {"seconds", "images_per_second"}
GOLDEN = Path(__file__).parents[1] / "assets" / "golden_loss.json"


def row(result: loop.EpochResult) -> dict[str, Any]:
    return {key: value for key, value in result.row.items() if key not in TIMINGS}


def weights(run: Run) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in run.model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_same_seed_twice_is_bitwise_the_same(tiny: Data, make_experiment: Any) -> None:
    runs = [loop.start(make_experiment(epochs=2), tiny, CPU) for _ in range(2)]
    rows = [[row(result) for result in loop.epochs(run)] for run in runs]
    assert rows[0] == rows[1]
    assert same(weights(runs[0]), weights(runs[1]))


def test_another_seed_is_another_run(tiny: Data, make_experiment: Any) -> None:
    losses = {next(loop.epochs(loop.start(make_experiment(seed=s), tiny, CPU))).train_loss for s in (0, 1)}
    assert len(losses) == 2


@pytest.mark.parametrize("model", ["mobilenetv2_skip", "mobilenetv2_plain"])
@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_interrupted_and_resumed_is_never_stopped(tiny: Data, make_experiment: Any, model: str, schedule: str) -> None:
    chosen = make_experiment(model=model, schedule=schedule, epochs=2)
    whole = loop.start(chosen, tiny, CPU)
    rows = [row(result) for result in loop.epochs(whole)]

    first = loop.start(chosen, tiny, CPU)
    next(loop.epochs(first))
    content = checkpoint.snapshot(first, rows=[1]).to_bytes()
    torch.rand(5)  # the global generator is elsewhere in another process
    second = loop.start(chosen, tiny, CPU)
    assert checkpoint.restore(second, content)["rows"] == [1]
    assert [row(result) for result in loop.epochs(second)] == rows[1:]
    assert same(weights(second), weights(whole))


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
        assert first[name] == pytest.approx(initial * optim.rate_factor("cosine", steps - 1, 2 * steps))
        assert second[name] == pytest.approx(initial * optim.rate_factor("cosine", 2 * steps - 1, 2 * steps))
    assert optim.rate_factor("cosine", 0, 8) == 1 and optim.rate_factor("cosine", 4, 8) == pytest.approx(0.5)


def test_adam_steps_as_torchs_own_does(tiny: Data, make_experiment: Any) -> None:
    chosen = make_experiment(optimizer="adam", encoder_lr=1e-3)
    run, reference = loop.start(chosen, tiny, CPU), loop.start(chosen, tiny, CPU)
    plain = torch.optim.Adam(reference.model.parameters(), lr=1e-3)
    images, masks = tiny.train.take(torch.arange(4))
    for trained, optimizer in ((run, run.optimizer), (reference, plain)):
        trained.model.eval()
        for _ in range(3):
            optimizer.zero_grad()
            torch.nn.functional.binary_cross_entropy_with_logits(trained.model(images)[:, 0], masks.float()).backward()
            optimizer.step()
    assert same(weights(run), weights(reference))


def test_a_loss_that_is_no_number_is_said(tiny: Data, make_experiment: Any) -> None:
    run = loop.start(make_experiment(decoder_lr=1e30, encoder_lr=1e30, epochs=2), tiny, CPU)
    with pytest.raises(Diverged, match="lower the learning rates"):
        list(loop.epochs(run))


def test_learning_happens(tiny: Data, make_experiment: Any) -> None:
    run = loop.start(make_experiment(epochs=6, encoder_lr=1e-3, decoder_lr=2e-2, augment="none"), tiny, CPU)
    results = list(loop.epochs(run))
    assert results[-1].train_loss < 0.85 * results[0].train_loss


def test_golden_loss_curve(tiny: Data, make_experiment: Any) -> None:
    """A refactor must reproduce it. Processors differ in the last digits, and training grows them."""
    losses = [r.train_loss for r in loop.epochs(loop.start(make_experiment(loss="dice_bce"), tiny, CPU))]
    assert losses == pytest.approx(json.loads(GOLDEN.read_text()), rel=5e-3)


def test_checkpoints_are_refused_where_they_do_not_belong(tiny: Data, make_experiment: Any) -> None:
    content = checkpoint.snapshot(loop.start(make_experiment(), tiny, CPU)).to_bytes()
    with pytest.raises(CheckpointError, match="another experiment"):
        checkpoint.restore(loop.start(make_experiment(seed=1), tiny, CPU), content)
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        checkpoint.read(b"pickle")
