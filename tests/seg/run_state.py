"""What of a run must be the same where two runs are."""

from typing import Any

import torch

from seg import loop
from seg.loop import Run

TIMINGS = {"seconds", "images_per_second"}


def row(result: loop.EpochResult) -> dict[str, Any]:
    return {key: value for key, value in result.row.items() if key not in TIMINGS}


def weights(run: Run) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in run.model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
