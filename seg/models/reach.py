"""What an image of some size meets in a model, asked on PyTorch's meta device: shapes and gradients without numbers."""

from typing import Any

import torch
from torch import Tensor, nn

SIZES = (64, 128, 224, 256, 384, 512)
"""Image sides, in pixels, of which any model takes one."""


def takes(model: nn.Module, size: int) -> bool:
    """Whether two square images of `size` pixels come through."""
    try:
        _logits(model, size)
    except (RuntimeError, ValueError, AssertionError):  # what models say of a size: there is no error of its own
        return False
    return True


def freeze_unreached(model: nn.Module) -> None:
    """No gradients where the loss gives none, such as in layers that only a classifier has: DDP waits for them for
    ever, and they are not trained whatever the optimiser holds. Nothing happens where none of SIZES can be taken."""
    size = next((size for size in SIZES if takes(model, size)), None)
    if size is None:
        return
    logits, parameters = _logits(model, size)
    gradients = torch.autograd.grad(logits.sum(), list(parameters.values()), allow_unused=True)
    for name, gradient in zip(parameters, gradients, strict=True):
        if gradient is None:
            model.get_parameter(name).requires_grad_(False)


def _logits(model: nn.Module, size: int) -> tuple[Tensor, dict[str, Tensor]]:
    """(2, K, size, size) on the meta device, and the parameters there that led to it."""
    parameters = {name: _meta(parameter).requires_grad_() for name, parameter in model.named_parameters()}
    buffers: dict[str, Any] = {name: _meta(buffer) for name, buffer in model.named_buffers()}
    images = torch.empty(2, 3, size, size, device="meta")
    return torch.func.functional_call(model, (parameters, buffers), (images,)), parameters


def _meta(tensor: Tensor) -> Tensor:
    return torch.empty_like(tensor, device="meta", requires_grad=False)
