"""What every architecture offers."""

from pathlib import Path

from torch import nn


class Segmenter(nn.Module):
    """Images (N, 3, H, W) to logits (N, K, H, W). What may be frozen and has pretrained weights is the encoder."""

    encoder: nn.Module
    decoder: nn.Module

    def load_encoder(self, weights_dir: Path) -> None:
        """ImageNet weights into the encoder, from that folder; see seg.weights."""
        raise NotImplementedError
