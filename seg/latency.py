"""How long a model takes for one image."""

import statistics
import time

import torch
from torch import Tensor, nn

from seg.precision import autocast

WARM_UPS = 2
"""Passes before those that count: kernels are chosen and memory is set aside in them."""
PASSES = 10
FEWEST = 3
BOUND_SECONDS = 1.0
"""After so long no further pass is begun, once there are FEWEST."""


@torch.inference_mode()
def median_ms(model: nn.Module, image_size: int, device: torch.device, precision: str = "auto") -> float:
    """Median of some forward passes of one image of `image_size` pixels a side, in milliseconds, as a prediction
    makes them: from an image on the device to its logits there. The model is left in eval mode.

    What else the device does meanwhile, as another lane's training, counts too."""
    model.eval()
    image_13HW = torch.full((1, 3, image_size, image_size), 0.5, device=device).to(memory_format=torch.channels_last)
    for _ in range(WARM_UPS):
        _pass_seconds(model, image_13HW, precision)
    seconds: list[float] = []
    while len(seconds) < FEWEST or (len(seconds) < PASSES and sum(seconds) < BOUND_SECONDS):
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
    """A GPU computes on while the host goes on."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
