"""BatchNorm after global pooling, where a batch of one image leaves one value a channel.

PyTorch refuses to train on that, and an epoch's last batch may well be a single image.
"""

import torch.nn.functional as F
from torch import Tensor, nn


class PooledBatchNorm2d(nn.BatchNorm2d):
    """Normalises a single value a channel by the running statistics, and leaves them as they are."""

    def forward(self, input: Tensor) -> Tensor:
        if self.training and input.numel() == input.shape[1]:
            return F.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        return super().forward(input)


def replace_pooled_norms(model: nn.Module) -> None:
    """In place, wherever a sequence pools to one value and then normalises. Names and values in the state dict stay."""
    for block in list(model.modules()):
        if not (isinstance(block, nn.Sequential) and any(isinstance(layer, nn.AdaptiveAvgPool2d) for layer in block)):
            continue
        for place, layer in enumerate(block):
            if type(layer) is nn.BatchNorm2d:
                norm = PooledBatchNorm2d(layer.num_features, layer.eps, layer.momentum)
                norm.load_state_dict(layer.state_dict())
                block[place] = norm
