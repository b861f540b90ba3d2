"""The moving average of a run's weights: by hand, over an interruption, and in the files that are kept."""

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from run_state import row, same, weights
from torch import nn

from seg import checkpoint, loop, optim
from seg.evaluate import evaluate
from seg.loop import Data, Run
from seg.models import build
from seg.optim import Average
from seg.ranks import Ranks

CPU = torch.device("cpu")
FROZEN = {"encoder_freeze": True, "encoder_lr": None}
NAMED = {**FROZEN, "encoder_weights": "imagenet"}
"""Frozen with weights that a file has: a checkpoint leaves them out."""
THAWED = {"encoder_frozen_epochs": 1}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of weights, not ImageNet's."""
    folder = tmp_path_factory.mktemp("weights")
    torch.save(build("mobilenetv2_skip", 2, None).encoder.state_dict(prefix="features."), folder / "mobilenet_v2.pth")
    return folder


class Tiny(nn.Module):
    """A weight, a buffer of real numbers and one of whole ones, as BatchNorm has them."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.0]))
        self.register_buffer("mean", torch.tensor([10.0]))
        self.register_buffer("batches", torch.tensor(0))


def set_to(tiny: Tiny, value: float) -> None:
    with torch.no_grad():
        tiny.weight.fill_(value)
        tiny.mean.fill_(10 + value)
        tiny.batches += 1


def of(average: Average) -> tuple[float, float, int]:
    tiny: Any = average.model
    return float(tiny.weight), float(tiny.mean), int(tiny.batches)


def test_the_first_steps_by_hand() -> None:
    """Decays 1/10, 2/11 and 3/12; whole numbers are copied."""
    tiny = Tiny()
    average = Average(tiny)  # type: ignore[arg-type]
    assert of(average) == (0, 10, 0)
    set_to(tiny, 1.0)
    average.update()
    assert of(average) == pytest.approx((0.9, 10.9, 1))
    set_to(tiny, 2.0)
    average.update()
    second = 2 / 11 * 0.9 + 9 / 11 * 2.0
    assert of(average) == pytest.approx((second, 10 + second, 2))
    set_to(tiny, -1.0)
    average.update()
    third = 3 / 12 * second + 9 / 12 * -1.0
    assert of(average) == pytest.approx((third, 10 + third, 3)) and average.steps == 3
    assert tiny.weight.tolist() == [-1.0], "what is trained is left alone"


def test_from_some_step_on_it_looks_back_equally_far() -> None:
    """At step 891 the warm-up's decay is 891/900, which is DECAY."""
    tiny = Tiny()
    average = Average(tiny)  # type: ignore[arg-type]
    for steps, decay in ((799, 800 / 809), (890, 0.99), (891, 0.99), (100_000, 0.99)):
        set_to(tiny, 0.0)
        average.model.load_state_dict(tiny.state_dict())
        average.steps = steps
        set_to(tiny, 1.0)
        average.update()
        assert of(average)[0] == pytest.approx(1 - decay, rel=1e-4)
    assert optim.DECAY == 0.99 and optim.WARM_UP_STEPS == 9


def test_it_learns_nothing_itself(tiny: Data, make_experiment: Any) -> None:
    run = loop.start(make_experiment(keep="average"), tiny, CPU)
    assert run.average is not None and not any(one.requires_grad for one in run.average.model.parameters())
    assert any(one.requires_grad for one in run.model.parameters())


@pytest.mark.parametrize("keep", ["best", "last"])
def test_without_it_the_weights_themselves_are_kept(tiny: Data, make_experiment: Any, keep: str) -> None:
    run = loop.start(make_experiment(keep=keep), tiny, CPU)
    assert run.average is None and run.kept is run.model


def test_training_is_the_same_with_an_average_and_without(tiny: Data, make_experiment: Any) -> None:
    runs = [loop.start(make_experiment(keep=keep, epochs=2), tiny, CPU) for keep in ("best", "average")]
    rows = [[row(result) for result in loop.epochs(run)] for run in runs]
    assert same(weights(runs[0]), weights(runs[1]))
    for plain, averaged in zip(*rows, strict=True):
        assert plain["train_loss"] == averaged["train_loss"] and plain["val_loss"] != averaged["val_loss"]


def averages(run: Run) -> dict[str, torch.Tensor]:
    assert run.average is not None
    return {name: value.clone() for name, value in run.average.model.state_dict().items()}


def test_it_is_what_the_formula_makes_of_every_step_s_weights(tiny: Data, make_experiment: Any) -> None:
    seen: list[dict[str, torch.Tensor]] = []
    run = loop.start(make_experiment(keep="average", epochs=2), tiny, CPU)
    expected = {name: value.double() for name, value in weights(run).items()}
    assert run.average is not None
    update = run.average.update

    def watched() -> None:
        seen.append(weights(run))
        update()

    run.average.update = watched  # type: ignore[method-assign]
    for _ in loop.epochs(run):
        pass
    assert len(seen) == run.average.steps == 2 * -(-len(tiny.train.ids) // 16)
    for step, state in enumerate(seen, 1):
        decay = min(0.99, step / (step + 9))
        for name, value in state.items():
            expected[name] = decay * expected[name] + (1 - decay) * value.double()
    for name, value in averages(run).items():
        if value.is_floating_point():
            torch.testing.assert_close(value.double(), expected[name], rtol=1e-4, atol=1e-6)
        else:
            assert torch.equal(value, seen[-1][name])


@pytest.mark.parametrize("encoder", [{}, FROZEN, NAMED, THAWED])
def test_interrupted_and_resumed_is_never_stopped(
    tiny: Data, make_experiment: Any, files: Path, encoder: dict[str, Any]
) -> None:
    """Bit for bit: weights, averages and the step they are at."""
    chosen = make_experiment(keep="average", epochs=3, **encoder)
    whole = loop.start(chosen, tiny, CPU, files)
    rows = [row(result) for result in loop.epochs(whole)]

    first = loop.start(chosen, tiny, CPU, files)
    next(loop.epochs(first))
    content = checkpoint.snapshot(first).to_bytes()
    torch.rand(5)  # the global generator is elsewhere in another process
    second = loop.start(chosen, tiny, CPU, files)
    checkpoint.restore(second, content)
    assert same(averages(second), averages(first))
    assert [row(result) for result in loop.epochs(second)] == rows[1:]
    assert same(weights(second), weights(whole)) and same(averages(second), averages(whole))
    assert whole.average is not None and second.average is not None
    assert second.average.steps == whole.average.steps > 0


@pytest.mark.parametrize("encoder", [{}, FROZEN, NAMED])
def test_the_file_of_weights_has_the_average(
    tiny: Data, make_experiment: Any, files: Path, encoder: dict[str, Any]
) -> None:
    """The frozen encoder among them, which the checkpoint leaves out if a file has it."""
    run = loop.start(make_experiment(keep="average", **encoder), tiny, CPU, files)
    next(loop.epochs(run))
    kept = checkpoint.snapshot(run)
    found = safetensors.torch.load(kept.weights(run).to_bytes())
    assert same(found, averages(run)) and not same(found, weights(run))
    of_the_encoder = [name for name in kept.tensors if name.startswith("average.encoder.")]
    assert bool(of_the_encoder) == (encoder != NAMED)
    if encoder:
        assert all(
            torch.equal(found[name], value) for name, value in weights(run).items() if name.startswith("encoder.")
        )


def test_what_is_validated_is_the_average(tiny: Data, make_experiment: Any) -> None:
    """Its weights in a model of their own score the same."""
    chosen = make_experiment(keep="average")
    run = loop.start(chosen, tiny, CPU)
    result = next(loop.epochs(run))
    assert run.average is not None and run.kept is run.average.model
    alone = build(chosen.model, 2, None)
    checkpoint.load_model(alone, checkpoint.snapshot(run).weights(run).tensors)
    again = evaluate(alone, tiny.val, chosen, 2, Ranks(), CPU)
    assert torch.equal(again.counts.hard, result.validation.counts.hard)
