"""The standings of `analysis.finalists` for a terminal: who is best, then every pair."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.standings import Pair, Standing

PLACES = {"native": "at the masks' own size", "train": "at training size"}

ONCE = "Each was trained once, and no test over images sees what another seed would change: --finalist-seeds 3 shows it"


def to_text(title: str, score: str, standing: Sequence[Standing], tested: Sequence[Pair], lacking: str) -> str:
    """`title`: what was measured, and where; `lacking`: where the rest is."""
    several = len({row.study for row in standing}) > 1
    return "\n".join([title, *_standings(score, standing, several), *_pairs(tested, several), lacking]) + "\n"


def title(score: str, size: str, images: int) -> str:
    return f"test {score} {PLACES[size]}, {images} images, with 95 % intervals over the images"


def _standings(name: str, standing: Sequence[Standing], several: bool) -> Iterator[str]:
    first = max(5, *(len(_who(row.study, row.trial, several)) for row in standing))
    again = any(row.seeds > 1 for row in standing)
    title = f"  {'over its seeds':14s}" if again else ""
    yield f"{'trial':{first}s}  ties  {name:>7.7s}  {'interval':13s}  val - test{title}  source"
    for row in standing:
        drop = "" if math.isnan(row.drop) else f"{row.drop:+.4f}"
        score = f"{row.score:7.4f}  {row.low:.4f}-{row.high:.4f}  {drop:>10s}"
        seeds = f"  {over_seeds(row):14s}" if again else ""
        yield f"{_who(row.study, row.trial, several):{first}s}  {row.ties:4s}  {score}{seeds}  {row.source}"
    if len(standing) > 1:
        yield "two that share a letter under `ties` are not told apart (paired permutation test, Holm, 5 %)"
        if not again:
            yield ONCE[0].lower() + ONCE[1:]


def over_seeds(row: Standing) -> str:
    """`± 0.0042 (3)`: the deviation between them, and how many; empty where there is one."""
    return f"± {row.deviation:.4f} ({row.seeds})" if row.seeds > 1 else ""


def _pairs(tested: Sequence[Pair], several: bool) -> Iterator[str]:
    for pair in tested:
        names = f"{_who(pair.study, pair.trial, several)} - {_who(pair.other_study, pair.other_trial, several)}"
        span = f"{pair.difference:+.4f} ({pair.low:+.4f} to {pair.high:+.4f})"
        yield f"{names}: {span}, p {pair.p_adjusted:.4f}{'' if pair.told_apart else ', not told apart'}"


def _who(study: str, trial: int | str, several: bool) -> str:
    return f"{study}/{trial}" if several else str(trial)
