"""What no training gives: predictions that look at no image. A model that does not beat them has learned nothing."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from seg import metrics
from seg.data.sample import IGNORED
from seg.metrics import Counts
from seg.pack import Pack

BATCH = 256


@dataclass(frozen=True)
class Trivial:
    """The same mask for every image."""

    name: str
    """As in a sentence: `every pixel background`."""
    mask_SS: np.ndarray
    """uint8 class indices, at the pack's size."""
    classes: int

    def probabilities(self, image_HW3: np.ndarray) -> Tensor:
        """(classes, H, W) float, 0 or 1, as a seg.predict.Predictor has them for an image at its own size."""
        mask = torch.from_numpy(self.mask_SS)[None, None].float()
        sized = F.interpolate(mask, image_HW3.shape[:2], mode="nearest")[0, 0].long()
        return F.one_hot(sized, self.classes).permute(2, 0, 1).float()

    def counts(self, pack: Pack, split: str) -> Counts:
        """Over the images of a split, at the pack's size."""
        prediction = torch.from_numpy(self.mask_SS).long()
        certain = F.one_hot(prediction, self.classes).permute(2, 0, 1).float()
        confusion, soft = [], []
        for indices in np.array_split(pack.indices(split), max(len(pack.indices(split)) // BATCH, 1)):
            target = torch.from_numpy(np.asarray(pack.masks_NHW[indices]))
            confusion.append(metrics.confusion(prediction.expand(target.shape), target, self.classes))
            soft.append(metrics.count_soft(certain.expand(len(target), -1, -1, -1), target))
        joint = torch.cat(confusion)
        return Counts(metrics.from_confusion(joint), torch.cat(soft), joint.sum(0))


def predictions(pack: Pack) -> list[Trivial]:
    """Every pixel background; every pixel the most frequent other class; of each place in the image, the class that
    the training masks have there most often: in a binary task, the mean training mask."""
    frequency = pack.class_frequencies
    foreground = 1 + int(np.argmax(frequency[1:]))
    size = pack.image_size, pack.image_size
    name = "foreground" if pack.classes == 2 else pack.class_names[foreground]
    mean = "the mean training mask" if pack.classes == 2 else "the most frequent class of each place"
    return [
        Trivial("every pixel background", np.zeros(size, np.uint8), pack.classes),
        Trivial(f"every pixel {name}", np.full(size, foreground, np.uint8), pack.classes),
        Trivial(mean, _most_frequent(pack), pack.classes),
    ]


def _most_frequent(pack: Pack) -> np.ndarray:
    """(S, S) uint8; of equally frequent classes, the last one: a foreground rather than the background."""
    counts = np.zeros((pack.classes, pack.image_size, pack.image_size), np.int64)
    train = pack.indices("train")
    for indices in np.array_split(train, max(len(train) // BATCH, 1)):
        masks = np.asarray(pack.masks_NHW[indices])
        for index in range(pack.classes):
            counts[index] += ((masks == index) & (masks != IGNORED)).sum(0)
    return np.asarray(pack.classes - 1 - counts[::-1].argmax(0), np.uint8)
