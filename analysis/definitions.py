"""Every score that the published systems and the ISIC challenge used, as a function of stored counts.

`R0` to `R4` are the systems of README.md's table; ISIC: Gutman et al. 2016 (arXiv:1605.01397), Codella et al. 2018 and
2019 (arXiv:1710.05006, 1902.03368), as the challenge's own scorer `isic-challenge-scoring` computes it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from analysis import ratios
from analysis.ratios import Array, Sums, full, mean

ISIC_2018_THRESHOLD = 0.65
"""The IoU below which an image counted as failed."""


@dataclass(frozen=True)
class Definition:
    name: str
    """As seg.metrics.scores calls it, where it has it."""
    of: Callable[[Sums], float | Array]
    definition: str
    used_by: str
    """Empty where nobody published it: it is there to set the others beside."""


def _lesion(ratio: Callable[[Sums], Array]) -> Callable[[Sums], Array]:
    """Of class 1 of each image, then the mean."""
    return lambda s: full(ratio(s.of(1))).mean()


def _pooled_lesion(ratio: Callable[[Sums], Array]) -> Callable[[Sums], Array]:
    return lambda s: full(ratio(s.pooled.of(1)))


def _macro(ratio: Callable[[Sums], Array]) -> Callable[[Sums], Array]:
    """The mean over classes of the pooled counts."""
    return lambda s: full(mean(ratios.present(s.pooled, ratio(s.pooled))))


def _foreground(ratio: Callable[[Sums], Array]) -> Callable[[Sums], Array]:
    return lambda s: _macro(ratio)(s.foreground)


def _image_means(ratio: Callable[[Sums], Array], s: Sums) -> Array:
    """(images,) mean over the classes that are in the image's truth or prediction; missing where none is."""
    return mean(ratios.present(s, ratio(s)))


def _each_image(ratio: Callable[[Sums], Array]) -> Callable[[Sums], Array]:
    return lambda s: full(mean(_image_means(ratio, s)))


def _isic_2018(s: Sums) -> Array:
    each = full(ratios.iou(s.of(1)))
    return np.where(each >= ISIC_2018_THRESHOLD, each, 0.0).mean()


def _trace(s: Sums) -> Array:
    """Hits of all classes over all pixels: every pixel has one label, so that FP and FN are each the misses."""
    hits, _, missed, _ = s.pooled.micro.hard
    return ratios.full(ratios._ratio(hits, hits + missed))
