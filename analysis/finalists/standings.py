"""Compare finalists by image and by seed: which is better, by how much, and how certain that is."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import stdev

import pandas as pd

from analysis.finalists.sealed import SCORE, Finalist, place, score_of
from analysis.scores.definitions import definitions
from analysis.scores.ratios import Additive, Mean, Sums
from analysis.scores.uncertainty import ALPHA, difference, holm, interval, intervals, letters, value
from seg.cli import aligned

NOT_KNOWN = float("nan")

SHARE = 0.1
"""The share of the images that counts as the hardest."""
PLACES = {"native": "at the masks' own size", "train": "at training size"}
ONCE = "Each was trained once, and no test over images sees what another seed would change: --finalist-seeds 3 shows it"


@dataclass(frozen=True)
class Pair:
    """Two finalists, the better one first."""

    study: str
    trial: int | str
    other_study: str
    other_trial: int | str
    difference: float
    low: float
    high: float
    """`low` and `high` are the ends of the 95 % interval."""
    p: float
    """The p-value of a paired permutation test."""
    p_adjusted: float
    """The p-value adjusted for all pairs by Holm's method."""

    @property
    def significant(self) -> bool:
        return self.p_adjusted < ALPHA


@dataclass(frozen=True)
class Standing:
    """A finalist's score and how it compares with the others."""

    study: str
    trial: int | str
    source: str
    score: float
    """The score on the test split, averaged over the seeds."""
    low: float
    high: float
    """`low` and `high` are the ends of the 95 % interval."""
    ties: str
    """Letters: finalists that share one do not differ significantly."""
    drop: float
    """The validation score minus the test score, both at training size. The search chose by the former."""
    drop_low: float
    drop_high: float
    seeds: int = 1
    """The number of seeds that it was trained with."""
    deviation: float = NOT_KNOWN
    """The sample standard deviation of the score between seeds; NaN with one seed."""


def pairs(found: Sequence[Finalist], name: str = SCORE) -> list[Pair]:
    """Compare every two finalists by the score `name`, over all their seeds.

    Raises NotComparable if there is no score of that name.
    """
    size, score, ranked = place(found), score_of(found, name), _ranked(found, name)
    couples = list(combinations(ranked, 2))
    apart = [difference(_seeds(one, size), _seeds(other, size), score) for one, other in couples]
    return [
        Pair(one.study, one.trial, other.study, other.trial, by.value, by.low, by.high, by.p, adjusted)
        for (one, other), by, adjusted in zip(couples, apart, holm([by.p for by in apart]), strict=True)
    ]


def standings(found: Sequence[Finalist], name: str, tested: Sequence[Pair]) -> list[Standing]:
    """Return the standings, best first. `tested` is `pairs(found, name)`."""
    size, score, ranked = place(found), score_of(found, name), _ranked(found, name)
    differ = {((by.study, by.trial), (by.other_study, by.other_trial)): by.significant for by in tested}
    ties = letters([(one.study, one.trial) for one in ranked], differ)
    return [
        Standing(
            one.study,
            one.trial,
            one.source,
            value(_seeds(one, size), score),
            *interval(_seeds(one, size), score),
            ties[one.study, one.trial],
            *_drop(one, score),
            seeds=len(one.trainings),
            deviation=_deviation(one, score, size),
        )
        for one in ranked
    ]


def _deviation(one: Finalist, score: Additive, size: str) -> float:
    scores = [score.of(each.test[size]) for each in one.trainings]
    return stdev(scores) if len(scores) > 1 else NOT_KNOWN


def _ranked(found: Sequence[Finalist], name: str) -> list[Finalist]:
    size, score = place(found), score_of(found, name)
    return sorted(found, key=lambda one: (-value(_seeds(one, size), score), one.study, str(one.trial)))


def _seeds(one: Finalist, size: str) -> list[Sums]:
    return [each.test[size] for each in one.trainings]


def seed_scores(found: Sequence[Finalist], name: str = SCORE) -> pd.DataFrame:
    """Return one row per finalist and seed, best finalist first, without ensembles.

    The columns are `finalist` (its name for readers), `trial`, `seed`, `score` on the test images, and `low` and
    `high`, the ends of the score's 95 % interval over these images.
    """
    size, score = place(found), score_of(found, name)
    ranked = [one for one in _ranked(found, name) if isinstance(one.trial, int)]
    rows = [
        (called, each.trial, each.seed, score.of(each.test[size]), *interval(each.test[size], score))
        for one, called in zip(ranked, _called(ranked), strict=True)
        for each in one.trainings
    ]
    return pd.DataFrame(rows, columns=["finalist", "trial", "seed", "score", "low", "high"])


def _called(found: Sequence[Finalist]) -> list[str]:
    several = len({one.study for one in found}) > 1
    called = [f"trial {one.trial}" if isinstance(one.trial, int) else str(one.trial) for one in found]
    return [f"{one.study}, {name}" if several else name for one, name in zip(found, called, strict=True)]


def _drop(one: Finalist, score: Additive) -> tuple[float, float, float]:
    """Return the validation score minus the test score, and the ends of its interval.

    The two scores come from different samples of images, so their variances add.
    """
    both = [(each.val, each.test["train"]) for each in one.trainings if each.val and "train" in each.test]
    if not both:
        return NOT_KNOWN, NOT_KNOWN, NOT_KNOWN
    on_val, on_test = zip(*both, strict=True)
    val, test = value(on_val, score), value(on_test, score)
    (val_low, val_high), (test_low, test_high) = interval(on_val, score), interval(on_test, score)
    below = ((val - val_low) ** 2 + (test_high - test) ** 2) ** 0.5
    above = ((val_high - val) ** 2 + (test - test_low) ** 2) ** 0.5
    return val - test, val - test - below, val - test + above


def every_score(found: Sequence[Finalist]) -> pd.DataFrame:
    """Return one row per finalist and score that has an interval, in the order of `found`.

    The columns are `study`, `trial`, `score`, `value` on the test images over all seeds, `low`, and `high`.
    """
    size, rows = place(found), []
    for one in found:
        known = {d.name: d.score for d in definitions(one.test[size]) if isinstance(d.score, Additive)}
        spans = intervals(_seeds(one, size), list(known.values()))
        for (name, score), span in zip(known.items(), spans, strict=True):
            rows.append((one.study, one.trial, name, value(_seeds(one, size), score), *span))
    return pd.DataFrame(rows, columns=["study", "trial", "score", "value", "low", "high"])


def image_scores(found: Sequence[Finalist], name: str = SCORE) -> pd.DataFrame:
    """Return one row per image and finalist, best finalist first; each is represented by its first seed.

    The columns are `finalist` (its name for readers), `trial`, `id`, and `iou`. With more than two classes, `iou` is
    the mean over the classes in the image's truth or prediction.
    """
    size, parts, ranked = place(found), [], _ranked(found, name)
    for one, called in zip(ranked, _called(ranked), strict=True):
        scores = {d.name: d.score for d in definitions(one.test[size])}
        by_image = scores.get("iou_image", scores["iou"])
        assert isinstance(by_image, Mean)
        values = by_image.ratio(one.test[size])
        parts.append(pd.DataFrame({"finalist": called, "trial": one.trial, "id": one.ids, "iou": values}))
    return pd.concat(parts, ignore_index=True)


# Images that are hard for every finalist.


def hard_images(found: Sequence[Finalist], name: str = SCORE) -> pd.DataFrame:
    """Return one row per test image, hardest first: `id`, and the `mean`, `lowest`, and `highest` of its IoU.

    They are taken over all trainings of the finalists, including seed replicates but not ensembles. For the IoU with
    more than two classes, see `image_scores`.
    """
    trained = [each for one in found if isinstance(one.trial, int) for each in one.trainings]
    by_image = image_scores(trained, name).groupby("id")["iou"]
    rows = by_image.agg(mean="mean", lowest="min", highest="max").reset_index()
    return rows.sort_values(["mean", "id"], ignore_index=True)


def lacking(found: Sequence[Finalist], name: str = SCORE) -> str:
    """Return a sentence on the images that keep the mean IoU below 1.

    It uses the IoU of single images, whatever the score `name`. It states which share of the missing IoU lies in the
    hardest tenth of the images. It also states the mean IoU of the best training on each image, which no choice among
    the trainings can exceed.
    """
    images, trainings = hard_images(found, name), sum(len(one.trainings) for one in found if isinstance(one.trial, int))
    count = max(round(SHARE * len(images)), 1)
    lacks = 1 - images["mean"]
    share = lacks[:count].sum() / lacks.sum() if lacks.sum() else 0.0
    over = "1 training" if trainings == 1 else f"{trainings} trainings"
    text = f"image by image the mean IoU is {images['mean'].mean():.4f} over {over}; "
    text += f"the hardest {count} of {len(images)} images hold {share:.0%} of what is lacking to 1"
    best = f", and the best training on each image would have {images['highest'].mean():.4f}"
    return text + (best if trainings > 1 else "")


def to_text(title: str, score: str, standing: Sequence[Standing], tested: Sequence[Pair], lacking: str) -> str:
    """Return the output. `title`: what was measured and where. `lacking`: the closing line on hard images."""
    several = len({row.study for row in standing}) > 1
    return "\n".join([title, *_standings(score, standing, several), *_pairs(tested, several), lacking]) + "\n"


def title(score: str, size: str, images: int) -> str:
    return f"test {score} {PLACES[size]}, {images} images, with 95 % intervals over the images"


def _standings(name: str, standing: Sequence[Standing], several: bool) -> Iterator[str]:
    again = any(row.seeds > 1 for row in standing)
    rows = [("trial", "ties", name, "interval", "val - test", *(["over its seeds"] if again else []), "source")]
    for row in standing:
        drop = "" if math.isnan(row.drop) else f"{row.drop:+.4f}"
        seeds = [over_seeds(row)] if again else []
        interval = f"{row.low:.4f}-{row.high:.4f}"
        rows.append(
            (_who(row.study, row.trial, several), row.ties, f"{row.score:.4f}", interval, drop, *seeds, row.source)
        )
    yield from aligned(rows, right=(2, 4))
    if len(standing) > 1:
        yield "two that share a letter under `ties` do not differ significantly (paired permutation test, Holm, 5 %)"
        if not again:
            yield ONCE[0].lower() + ONCE[1:]


def over_seeds(row: Standing) -> str:
    """Return the deviation between seeds and their number: `± 0.0042 (3)`. Empty with one seed."""
    return f"± {row.deviation:.4f} ({row.seeds})" if row.seeds > 1 else ""


def _pairs(tested: Sequence[Pair], several: bool) -> Iterator[str]:
    for pair in tested:
        names = f"{_who(pair.study, pair.trial, several)} - {_who(pair.other_study, pair.other_trial, several)}"
        span = f"{pair.difference:+.4f} ({pair.low:+.4f} to {pair.high:+.4f})"
        yield f"{names}: {span}, p {pair.p_adjusted:.4f}{'' if pair.significant else ', not significantly different'}"


def _who(study: str, trial: int | str, several: bool) -> str:
    return f"{study}/{trial}" if several else str(trial)
