"""The precision in which a model computes.

Its weights are float32; convolutions and matrix products may be bfloat16. On GPUs that is usual. CPUs with AVX-512's
bfloat16 instructions gain from it too: a third of a training step on two cores (tests/benchmarks/bench_precision.py).
Other CPUs would only convert back and forth.
"""

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx


def resolve(precision: str, device: torch.device) -> str:
    """Return `bf16` or `fp32`; `auto` becomes the one that suits the device."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if device.type == "cpu" and torch.cpu._is_avx512_bf16_supported() else "fp32"


def autocast(precision: str, device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=resolve(precision, device) == "bf16")


def prepare(model: nn.Module, device: torch.device) -> None:
    """Replace strided depthwise convolutions by StridedDepthwise ones with the same parameters, on a CPU only."""
    if device.type != "cpu":
        return
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Conv2d and _is_strided_depthwise(child):
                setattr(module, name, StridedDepthwise(child))


class StridedDepthwise(nn.Conv2d):
    """A strided depthwise convolution whose input gradient is computed in float32 under bfloat16 autocast.

    oneDNN has no fast bfloat16 kernel for that gradient: it takes 75 ms, against 5 ms in float32, for 32 images of 96
    channels of 64 x 64.
    """

    def __init__(self, plain: nn.Conv2d):
        super().__init__(
            plain.in_channels,
            plain.out_channels,
            plain.kernel_size,  # type: ignore[arg-type]
            plain.stride,  # type: ignore[arg-type]
            plain.padding,  # type: ignore[arg-type]
            plain.dilation,  # type: ignore[arg-type]
            plain.groups,
            bias=False,
            device="meta",
        )
        self.weight = plain.weight
        self.train(plain.training)

    def forward(self, input: Tensor) -> Tensor:
        if not torch.is_autocast_enabled("cpu"):
            return super().forward(input)
        geometry = self.stride, self.padding, self.dilation, self.groups
        convolved: Tensor = _StridedDepthwise.apply(input.bfloat16(), self.weight.bfloat16(), *geometry)
        return convolved


class _StridedDepthwise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x: Tensor,
        weight: Tensor,
        stride: tuple[int, ...],
        padding: tuple[int, ...],
        dilation: tuple[int, ...],
        groups: int,
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = stride, padding, dilation, groups  # type: ignore[attr-defined]
        return nn.functional.conv2d(x, weight, None, stride, padding, dilation, groups)

    @staticmethod
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors  # type: ignore[attr-defined]
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:  # type: ignore[attr-defined]
            like = torch.empty_like(x, dtype=torch.float32)
            of_x = _gradients(ctx, grad.float(), like, weight.float(), [True, False, False])[0].to(x.dtype)
        if ctx.needs_input_grad[1]:  # type: ignore[attr-defined]
            of_weight = _gradients(ctx, grad, x, weight, [False, True, False])[1]
        return of_x, of_weight, None, None, None, None


def _gradients(ctx: FunctionCtx, grad: Tensor, x: Tensor, weight: Tensor, wanted: list[bool]) -> list[Tensor]:
    stride, padding, dilation, groups = ctx.geometry  # type: ignore[attr-defined]
    none = [0] * len(stride)
    found: list[Tensor] = torch.ops.aten.convolution_backward(
        grad, x, weight, None, stride, padding, dilation, False, none, groups, wanted
    )
    return found


def _is_strided_depthwise(convolution: nn.Conv2d) -> bool:
    plain = convolution.bias is None and convolution.padding_mode == "zeros" and isinstance(convolution.padding, tuple)
    return plain and 1 < convolution.groups == convolution.in_channels and max(convolution.stride) > 1
