"""Which images are hard for every finalist: where what is lacking to a perfect score lies."""

from collections.abc import Sequence

import pandas as pd

from analysis.sealed import SCORE, Finalist
from analysis.standings import image_scores

SHARE = 0.1
"""Of the images, that are called the hardest."""


def hard_images(found: Sequence[Finalist], name: str = SCORE) -> pd.DataFrame:
    """A row a test image, hardest first: `id`, and over all trainings of the finalists, seed replicates too, ensembles
    not: the `mean` of its IoU, `lowest` and `highest` (of a task with more classes see `image_scores`)."""
    trained = [each for one in found if isinstance(one.trial, int) for each in one.trainings]
    by_image = image_scores(trained, name).groupby("id")["iou"]
    rows = by_image.agg(mean="mean", lowest="min", highest="max").reset_index()
    return rows.sort_values(["mean", "id"], ignore_index=True)


def lacking(found: Sequence[Finalist], name: str = SCORE) -> str:
    """In a sentence, of the IoU of single images, whatever the score: the share of the hardest tenth of them in what is
    lacking to 1, and what the best of the trainings on each image would have: no choice of one of them surpasses it."""
    images, trainings = hard_images(found, name), sum(len(one.trainings) for one in found if isinstance(one.trial, int))
    count = max(round(SHARE * len(images)), 1)
    lacks = 1 - images["mean"]
    share = lacks[:count].sum() / lacks.sum() if lacks.sum() else 0.0
    over = "1 training" if trainings == 1 else f"{trainings} trainings"
    told = f"image by image the mean IoU is {images['mean'].mean():.4f} over {over}; "
    told += f"the hardest {count} of {len(images)} images hold {share:.0%} of what is lacking to 1"
    best = f", and the best training on each image would have {images['highest'].mean():.4f}"
    return told + (best if trainings > 1 else "")
