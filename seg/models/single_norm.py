"""BatchNorm of a single value a channel: a batch of one image, after global pooling.

PyTorch refuses to train on that, and an epoch's last batch may well be a single image.
"""

import torch.nn.functional as F
from torch import Tensor, nn


class SingleBatchNorm2d(nn.BatchNorm2d):
    """Normalises a single value a channel by the running statistics, and leaves them as they are."""

    def forward(self, input: Tensor) -> Tensor:
        if self.training and input.numel() == input.shape[1]:
            return F.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        return super().forward(input)


def allow_single_values(model: nn.Module) -> None:
    """In every BatchNorm of the model. They are the same modules still: what they hold, and who holds them, stays."""
    for layer in model.modules():
        if type(layer) is nn.BatchNorm2d:
            layer.__class__ = SingleBatchNorm2d
