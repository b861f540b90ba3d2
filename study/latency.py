"""How long a trained model takes for one image, where it is scored."""

import statistics
import time

import torch

from seg.predict import Predictor

WARM_UP = 3
REPEATS = 30
BUDGET_SECONDS = 2.0
"""Beyond which no image more is timed, once there are FEWEST."""
FEWEST = 5


def latency_ms(predictor: Predictor) -> float:
    """Median milliseconds from one image at the training size, which is on the device already, to its probabilities."""
    size = predictor.experiment.image_size
    image_13HW = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)).to(predictor.device)
    for _ in range(WARM_UP):
        _seconds(predictor, image_13HW)
    found, end = list[float](), time.perf_counter() + BUDGET_SECONDS
    while len(found) < REPEATS and (len(found) < FEWEST or time.perf_counter() < end):
        found.append(_seconds(predictor, image_13HW))
    return 1000 * statistics.median(found)


def _seconds(predictor: Predictor, image_13HW: torch.Tensor) -> float:
    began = time.perf_counter()
    predictor.small_probabilities(image_13HW)
    if image_13HW.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - began
