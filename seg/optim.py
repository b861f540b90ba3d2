"""The optimiser, with separate rates for encoder and decoder, and the moving average of the weights."""

import copy
from collections.abc import Callable
from typing import Any

import torch

from seg.experiment import Experiment
from seg.models.segmenter import Segmenter

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def freeze_encoder(model: Segmenter) -> None:
    """Turn off the encoder's gradients. `train_mode` keeps its BatchNorm statistics fixed."""
    model.encoder.requires_grad_(False)


def train_mode(model: Segmenter, encoder_frozen: bool) -> None:
    """Set training mode, except for a frozen encoder.

    A frozen encoder stays in evaluation mode: no dropout, and its BatchNorm statistics do not change.
    """
    model.train()
    if encoder_frozen:
        model.encoder.eval()


def build(model: Segmenter, experiment: Experiment) -> torch.optim.Optimizer:
    """Return the optimiser of an experiment.

    Its parameter groups are `encoder` (absent if `encoder_freeze`) and `decoder`, each with its `initial_lr`.
    """
    encoder = list(model.encoder.parameters())
    within = {id(parameter) for parameter in encoder}
    groups: list[dict[str, Any]] = [
        {"name": "encoder", "params": encoder, "lr": experiment.encoder_lr},
        {
            "name": "decoder",
            "params": [p for p in model.parameters() if id(p) not in within],
            "lr": experiment.decoder_lr,
        },
    ]
    if experiment.encoder_freeze:
        del groups[0]
    for group in groups:
        group["initial_lr"] = group["lr"]
    return OPTIMIZERS[experiment.optimizer](groups, weight_decay=experiment.weight_decay, fused=True)


def set_rates(optimizer: torch.optim.Optimizer, factor: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor


def rates(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """Return the current learning rate of each parameter group by name."""
    return {group["name"]: group["lr"] for group in optimizer.param_groups}


DECAY = 0.99
"""The weight of the average so far at each step: the average covers about the last hundred steps."""
WARM_UP_STEPS = 9
"""The limit on the decay at early steps: at step n it is at most n / (n + WARM_UP_STEPS).

The average then covers fewer steps and soon forgets the random weights of a new decoder.
"""


class Average:
    """The exponential moving average, over training steps, of the weights and BatchNorm statistics of `source`.

    `model` has the averaged values. It is validated and kept in place of `source` if the experiment has
    `keep: average`. Averaged weights generalise a little better than those of any single step, and their validation
    curve is smooth (Morales-Brotons et al. 2024, arXiv:2411.18704).
    """

    def __init__(self, source: Segmenter):
        self.model = copy.deepcopy(source).requires_grad_(False)
        self.steps = 0
        """The number of updates so far."""
        pairs = list(zip(self.model.state_dict().values(), source.state_dict().values(), strict=True))
        self._blended = [(mine, its) for mine, its in pairs if mine.is_floating_point()]
        self._copied = [(mine, its) for mine, its in pairs if not mine.is_floating_point()]

    @torch.no_grad()
    def update(self) -> None:
        """Update the average after an optimiser step of `source`. Nothing waits for the device."""
        self.steps += 1
        share = 1 - min(DECAY, self.steps / (self.steps + WARM_UP_STEPS))
        torch._foreach_lerp_([mine for mine, _ in self._blended], [its for _, its in self._blended], share)
        for mine, its in self._copied:  # BatchNorm's counts of batches
            mine.copy_(its)
