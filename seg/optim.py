"""Optimiser: separate rates for encoder and decoder."""

from collections.abc import Callable
from typing import Any

import torch

from seg.experiment import Experiment
from seg.models.segmenter import Segmenter

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def freeze_encoder(model: Segmenter) -> None:
    """No gradients in the encoder. Its BatchNorm statistics stay fixed through `train_mode`."""
    model.encoder.requires_grad_(False)


def train_mode(model: Segmenter, encoder_frozen: bool) -> None:
    """Training mode, but a frozen encoder stays in evaluation mode: no dropout, BatchNorm statistics untouched."""
    model.train()
    if encoder_frozen:
        model.encoder.eval()


def build(model: Segmenter, experiment: Experiment) -> torch.optim.Optimizer:
    """Parameter groups `encoder` (absent when frozen) and `decoder`, each with its `initial_lr`."""
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
    """Present learning rate by group name."""
    return {group["name"]: group["lr"] for group in optimizer.param_groups}
