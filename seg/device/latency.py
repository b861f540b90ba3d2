"""The latency of a model for one image."""

import statistics
import time

import torch
from torch import Tensor, nn

from seg.device.precision import autocast

WARM_UPS = 2
"""The number of passes before those that count; in them, kernels are chosen and memory is allocated."""
PASSES = 10
MIN_PASSES = 3
BOUND_SECONDS = 1.0
"""Seconds after which a further pass does not start, once MIN_PASSES passes are done."""


@torch.inference_mode()
def median_ms(model: nn.Module, image_size: int, device: torch.device, precision: str = "auto") -> float:
    """Return the median time of a forward pass of one image of `image_size` pixels a side, in milliseconds.

    As in a prediction, a pass goes from an image on the device to its logits there. The model is left in eval mode.
    Other work on the device, such as another lane's training, adds to the time.
    """
    model.eval()
    image_13HW = torch.full((1, 3, image_size, image_size), 0.5, device=device).to(memory_format=torch.channels_last)
    for _ in range(WARM_UPS):
        _pass_seconds(model, image_13HW, precision)
    seconds: list[float] = []
    while len(seconds) < MIN_PASSES or (len(seconds) < PASSES and sum(seconds) < BOUND_SECONDS):
        seconds.append(_pass_seconds(model, image_13HW, precision))
    return 1e3 * statistics.median(seconds)


def _pass_seconds(model: nn.Module, image_13HW: Tensor, precision: str) -> float:
    _finish(image_13HW.device)
    began = time.perf_counter()
    with autocast(precision, image_13HW.device):
        model(image_13HW)
    _finish(image_13HW.device)
    return time.perf_counter() - began


def _finish(device: torch.device) -> None:
    """Wait for a GPU, which may still compute while the host goes on."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
