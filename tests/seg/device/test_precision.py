"""bfloat16 where the device has instructions for it, float32 wherever it is asked for."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from seg import checkpoint, loop
from seg.device import precision
from seg.device.precision import StridedDepthwise
from seg.loop import Data

CPU = torch.device("cpu")
has_instructions = pytest.mark.skipif(
    not torch.cpu._is_avx512_bf16_supported(), reason="this CPU has no bfloat16 instructions"
)


def test_what_is_asked_for_is_what_is_done() -> None:
    assert precision.resolve("fp32", CPU) == "fp32" and precision.resolve("bf16", CPU) == "bf16"
    for chosen, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        with precision.autocast(chosen, CPU):
            assert nn.Linear(2, 2)(torch.ones(1, 2)).dtype == dtype


@has_instructions
def test_auto_is_bfloat16_where_there_are_instructions() -> None:
    assert precision.resolve("auto", CPU) == "bf16"


def test_an_unknown_precision_is_refused(make_experiment: Any) -> None:
    with pytest.raises(ValueError, match="precision: 'fp8' is not known; choose from auto, bf16, fp32"):
        make_experiment(precision="fp8")


@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (5, 1), (3, 2)])
def test_a_strided_depthwise_convolution_has_the_gradients_of_an_ordinary_one(kernel: int, dilation: int) -> None:
    """In float32 to the bit; in bfloat16 within its rounding, where the ordinary one computes in float32."""
    torch.manual_seed(0)
    plain = nn.Conv2d(6, 6, kernel, 2, padding=kernel // 2, dilation=dilation, groups=6, bias=False)
    ours = StridedDepthwise(plain)
    assert ours.weight is plain.weight
    image = torch.randn(2, 6, 17, 12).to(memory_format=torch.channels_last)

    def gradients(convolution: nn.Module, chosen: str) -> list[torch.Tensor]:
        x = image.clone().requires_grad_()
        with precision.autocast(chosen, CPU):
            y = convolution(x)
        (y.float() * torch.linspace(-1, 1, y.numel()).view_as(y)).sum().backward()
        found = [y.detach().float(), x.grad, plain.weight.grad]
        plain.weight.grad = None
        return found  # type: ignore[return-value]

    wanted = gradients(plain, "fp32")
    torch.testing.assert_close(gradients(ours, "fp32"), wanted, rtol=0, atol=0)
    for found, exact in zip(gradients(ours, "bf16"), wanted, strict=True):
        assert (found - exact).norm() < 2**-7 * exact.norm()


def test_a_model_is_prepared_without_another_parameter(make_experiment: Any, tiny: Data) -> None:
    run = loop.start(make_experiment(), tiny, CPU)
    strided = [module for module in run.model.modules() if isinstance(module, StridedDepthwise)]
    assert len(strided) == 4  # MobileNetV2 halves its features five times, the first time in an ordinary convolution
    ordinary = loop.models.build("mobilenetv2_skip", 2)
    assert run.model.state_dict().keys() == ordinary.state_dict().keys()
    of_optimizer = {id(p) for group in run.optimizer.param_groups for p in group["params"]}
    assert all(id(module.weight) in of_optimizer for module in strided)


def test_bfloat16_learns_what_float32_learns(make_experiment: Any, tiny: Data) -> None:
    chosen = make_experiment(epochs=4, encoder_lr=1e-3, decoder_lr=2e-2, augment="none")
    losses = {}
    for name in ("fp32", "bf16"):
        run = loop.start(dataclasses.replace(chosen, precision=name), tiny, CPU)
        losses[name] = [result.train_loss for result in loop.epochs(run)]
        assert all(parameter.dtype == torch.float32 for parameter in run.model.parameters())
    assert losses["bf16"] != losses["fp32"]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.05)


def test_a_run_goes_on_in_the_precision_it_began_with(make_experiment: Any, tiny: Data) -> None:
    """On whatever machine: `auto` may mean another one there."""
    chosen = make_experiment()
    begun = loop.start(dataclasses.replace(chosen, precision="bf16"), tiny, CPU)
    next(loop.epochs(begun))
    kept = checkpoint.snapshot(begun).to_bytes()
    (second,) = (result.train_loss for result in [next(loop.epochs(begun))])
    resumed = loop.start(dataclasses.replace(chosen, precision="fp32"), tiny, CPU)
    checkpoint.restore(resumed, kept)
    assert resumed.experiment.precision == "bf16"
    assert next(loop.epochs(resumed)).train_loss == second
