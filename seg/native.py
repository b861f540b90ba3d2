"""Scoring at the masks' own size, by the ISIC rule: probabilities resized to the native mask, then thresholded."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from seg import metrics
from seg.data.sample import Dataset, Sample
from seg.metrics import Counts
from seg.predict import Predictor


class NativeCounts:
    """Counts, image by image."""

    def __init__(self, classes: int):
        self._classes = classes
        self._confusion: list[Tensor] = []
        self._soft: list[Tensor] = []

    @torch.inference_mode()
    def add(self, probabilities_CHW: Tensor, mask_HW: np.ndarray) -> None:
        probability = probabilities_CHW.unsqueeze(0)
        target = torch.from_numpy(mask_HW.copy()).to(probability.device).unsqueeze(0).long()
        self._confusion.append(metrics.confusion(probability.argmax(1), target, self._classes).cpu())
        self._soft.append(metrics.count_soft(probability, target).cpu())

    @property
    def counts(self) -> Counts:
        """Of the images so far, in their order."""
        confusion = torch.cat(self._confusion)
        return Counts(metrics.from_confusion(confusion), torch.cat(self._soft), confusion.sum(0))


def count_native(predictors: Sequence[Predictor], dataset: Dataset, samples: Iterable[Sample]) -> Counts:
    """Counts of the mean of their probabilities, of each sample against its mask as it lies on disk. DataError where
    one is unreadable."""
    found = NativeCounts(dataset.classes)
    for sample in samples:
        image, mask = dataset.read(sample)
        found.add(torch.stack([one.probabilities(image) for one in predictors]).mean(0), mask)
    return found.counts
