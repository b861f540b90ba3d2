"""An exponential moving average of a model's weights over the steps of its training.

It is validated and kept in place of the weights themselves if an experiment says `keep: average`. Averaged weights
generalise a little better than those of any single step, and their validation curve is smooth (Morales-Brotons et al.
2024, arXiv:2411.18704).
"""

import copy

import torch

from seg.models.segmenter import Segmenter

DECAY = 0.99
"""Weight of the average so far at each step: it looks back over about a hundred steps."""
WARM_UP_STEPS = 9
"""While it is young the average looks back over less: at step n its decay is at most n / (n + WARM_UP_STEPS), so that
the random weights that a decoder begins with are soon forgotten."""


class Average:
    """`model` has the averaged weights and BatchNorm statistics of `source`, after each `update`."""

    def __init__(self, source: Segmenter):
        self.model = copy.deepcopy(source).requires_grad_(False)
        self.steps = 0
        """Updates so far."""
        pairs = list(zip(self.model.state_dict().values(), source.state_dict().values(), strict=True))
        self._blended = [(mine, its) for mine, its in pairs if mine.is_floating_point()]
        self._copied = [(mine, its) for mine, its in pairs if not mine.is_floating_point()]

    @torch.no_grad()
    def update(self) -> None:
        """After an optimiser step of `source`. Nothing waits for the device."""
        self.steps += 1
        share = 1 - min(DECAY, self.steps / (self.steps + WARM_UP_STEPS))
        torch._foreach_lerp_([mine for mine, _ in self._blended], [its for _, its in self._blended], share)
        for mine, its in self._copied:  # counts of batches
            mine.copy_(its)
