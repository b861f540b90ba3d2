"""Scoring at the masks' own size, by the ISIC rule: probabilities resized to the native mask, then thresholded."""

from collections.abc import Iterable

import torch

from seg import metrics
from seg.data.sample import Dataset, Sample
from seg.metrics import Counts
from seg.predict import Predictor


@torch.inference_mode()
def count_native(predictor: Predictor, dataset: Dataset, samples: Iterable[Sample]) -> Counts:
    """Counts of each sample against its mask as it lies on disk. DataError where one is unreadable."""
    joint, soft = [], []
    for sample in samples:
        image_HW3, mask_HW = dataset.read(sample)
        probability = predictor.probabilities(image_HW3).unsqueeze(0)
        target = torch.from_numpy(mask_HW.copy()).to(predictor.device).unsqueeze(0).long()
        joint.append(metrics.confusion(probability.argmax(1), target, dataset.classes))
        soft.append(metrics.count_soft(probability, target))
    confusion = torch.cat(joint).cpu()
    return Counts(metrics.from_confusion(confusion), torch.cat(soft).cpu(), confusion.sum(0))
