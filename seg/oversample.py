"""Oversampling: images that hold something rare come up more often in an epoch, which keeps its length.

An image's weight is share^-power, the share being that of the training images which have what is rarest in it:
of its classes by the images they are in, or, in a binary task, of its bin of foreground area. At power 0 every image
comes up once; at 1 a class in a hundredth of the images comes up as often as one that all of them hold, as far as
the images that hold both allow. Repeat factor sampling (Gupta et al. 2019, LVIS, arXiv:1908.03195) is power 1/2 for
classes below a threshold.
"""

import torch
from torch import Tensor

AREA_EDGES = (0.0, 0.01, 0.03, 0.1, 0.3)
"""Shares of an image's pixels that part the bins of a binary task: no foreground, up to 1 %, 3 %, 10 %, 30 %, more."""


def weights(class_pixels_NC: Tensor, power: float) -> Tensor:
    """(N,) float64, mean 1: how often an epoch is expected to hold each of the N training images.

    `class_pixels_NC` holds the pixels of each class in each image, ignored ones left out."""
    rarest = _rarest_area(class_pixels_NC) if class_pixels_NC.shape[1] == 2 else _rarest_class(class_pixels_NC)
    raw = rarest**-power
    return raw / raw.mean()


def _rarest_class(class_pixels_NC: Tensor) -> Tensor:
    """(N,): the smallest share of images among the classes that an image holds; 1 for one with every pixel ignored."""
    holds = class_pixels_NC > 0
    return torch.where(holds, holds.double().mean(0), 1.0).amin(1)


def _rarest_area(class_pixels_NC: Tensor) -> Tensor:
    """(N,): the share of the images in each image's bin of foreground area."""
    area = class_pixels_NC[:, 1] / class_pixels_NC.sum(1).clamp(min=1)
    bins = torch.bucketize(area, torch.tensor(AREA_EDGES, dtype=area.dtype))
    return (torch.bincount(bins).double() / len(bins))[bins]


def draw(weights_N: Tensor, offset: float) -> Tensor:
    """(N,) int64, ascending: which images an epoch holds, each floor or ceil of its weight times.

    Systematic resampling (Kitagawa 1996): N equally spaced points on the summed weights, the first at `offset` in
    [0, 1). Independent draws would leave a third of equally weighted images out; this leaves out none."""
    points = torch.arange(len(weights_N), dtype=torch.float64) + offset
    ends = weights_N.cumsum(0) * (len(weights_N) / weights_N.sum())
    return torch.searchsorted(ends, points, right=True).clamp(max=len(weights_N) - 1)


def report(class_pixels_NC: Tensor, weights_N: Tensor) -> dict[str, list[float]]:
    """Of each class: the share of the training images that hold it and of their pixels, then the same of what an
    epoch is expected to hold (`sampled_`)."""
    image_share, pixel_share = shares(class_pixels_NC, torch.ones_like(weights_N))
    sampled_image_share, sampled_pixel_share = shares(class_pixels_NC, weights_N)
    return {
        "image_share": image_share,
        "pixel_share": pixel_share,
        "sampled_image_share": sampled_image_share,
        "sampled_pixel_share": sampled_pixel_share,
    }


def shares(class_pixels_NC: Tensor, weights_N: Tensor) -> tuple[list[float], list[float]]:
    """Of each class: the share of the images, each counted with its weight, that hold it, and of their pixels."""
    images = ((class_pixels_NC > 0) * weights_N.unsqueeze(1)).sum(0) / weights_N.sum()
    pixels = (class_pixels_NC * weights_N.unsqueeze(1)).sum(0)
    return images.tolist(), (pixels / pixels.sum().clamp(min=1)).tolist()
