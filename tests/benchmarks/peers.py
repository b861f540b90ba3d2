"""A trial as people train it today: files decoded anew in every epoch by a DataLoader, an ordinary loop around a model.

Tuned as an honest user would: the memory layout and the number of the loader's workers that are fastest here.
"""

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import torchvision.transforms.functional as TF
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from seg import optim
from seg.batches import IMAGENET_MEAN, IMAGENET_STD
from seg.data import split
from seg.data.image_file import FileSample
from seg.device.precision import autocast
from seg.experiment import Experiment
from seg.models.segmenter import Segmenter


class Files(Dataset[tuple[Tensor, Tensor]]):
    """Images and binary masks as they lie on the disk, resized and, for training, flipped at random; item by item."""

    def __init__(self, files: list[tuple[Path, Path]], size: int, train: bool):
        self._files, self._size, self._train = files, size, train

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image_path, mask_path = self._files[index]
        image, mask = Image.open(image_path).convert("RGB"), Image.open(mask_path).convert("L")
        image = TF.resize(image, [self._size, self._size])
        mask = TF.resize(mask, [self._size, self._size], TF.InterpolationMode.NEAREST)
        if self._train:
            for flip in (TF.hflip, TF.vflip):
                if torch.rand(()) < 0.5:
                    image, mask = flip(image), flip(mask)
        return TF.normalize(TF.to_tensor(image), IMAGENET_MEAN, IMAGENET_STD), (TF.to_tensor(mask) > 0.5).float()


@dataclass(frozen=True)
class Tuning:
    workers: int = 0
    channels_last: bool = False
    precision: str = "fp32"
    """Of autocast, as it comes with PyTorch."""


CORES = os.cpu_count() or 1


def files(dataset: Any) -> dict[str, list[tuple[Path, Path]]]:
    """Of each split, in the order of their ids."""
    samples = sorted(dataset.samples, key=lambda sample: sample.id)
    splits = split.assign(samples)
    found: dict[str, list[tuple[Path, Path]]] = {"train": [], "val": [], "test": []}
    for sample in samples:
        assert isinstance(sample, FileSample)
        found[splits[sample.id]].append((sample.image_path, sample.mask_path))
    return found


def loader(found: list[tuple[Path, Path]], chosen: Experiment, train: bool, tuning: Tuning) -> Any:
    return DataLoader(
        Files(found, chosen.image_size, train),
        batch_size=chosen.batch_size,
        shuffle=train,
        num_workers=tuning.workers,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=tuning.workers > 0,
    )


def train(
    model: Segmenter, found: dict[str, list[tuple[Path, Path]]], chosen: Experiment, tuning: Tuning, stats: bool = False
) -> float:
    """All epochs of the experiment; the last one's mean validation IoU of an image. `stats`: scored in every step of
    training too, with the tools of segmentation_models_pytorch, as its example does."""
    if tuning.channels_last:
        model.to(memory_format=torch.channels_last)
    if chosen.encoder_freeze:
        optim.freeze_encoder(model)
    optimizer = optim.build(model, chosen)
    training, validation = (loader(found[name], chosen, name == "train", tuning) for name in ("train", "val"))
    steps = chosen.epochs * len(training)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps)))
    iou = 0.0
    for _ in range(chosen.epochs):
        optim.train_mode(model, chosen.encoder_freeze)
        for images, masks in training:
            images, masks = _there(model, tuning, images, masks)
            with autocast(tuning.precision, images.device):
                logits = model(images)
            loss = F.binary_cross_entropy_with_logits(logits.float(), masks)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if stats:
                _smp_iou(logits, masks)
        iou = _validate(model, validation, tuning)
    return iou


@torch.no_grad()
def _validate(model: nn.Module, validation: Any, tuning: Tuning) -> float:
    model.eval()
    scores, losses = [], []
    for images, masks in validation:
        images, masks = _there(model, tuning, images, masks)
        with autocast(tuning.precision, images.device):
            logits = model(images).float()
        losses.append(float(F.binary_cross_entropy_with_logits(logits, masks)))
        predicted, wanted = logits.flatten(1) > 0, masks.flatten(1) > 0.5
        both, either = (predicted & wanted).sum(1), (predicted | wanted).sum(1)
        scores.append(torch.where(either > 0, both / either.clamp(min=1), 1.0))
    return float(torch.cat(scores).mean())


def _smp_iou(logits: Tensor, masks: Tensor) -> float:
    import segmentation_models_pytorch as smp

    counts = smp.metrics.get_stats((logits.sigmoid() > 0.5).long(), masks.long(), mode="binary")
    return float(smp.metrics.iou_score(*counts, reduction="micro-imagewise"))


def _there(model: nn.Module, tuning: Tuning, images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Where the model is, and laid out as it is."""
    device = next(model.parameters()).device
    images, masks = (values.to(device, non_blocking=True) for values in (images, masks))
    return images.to(memory_format=torch.channels_last) if tuning.channels_last else images, masks
