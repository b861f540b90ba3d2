"""The report's table of finalists: who leads on the sealed test images, and who is not told apart from whom."""

import math
from dataclasses import dataclass

from analysis import finalists, load
from analysis.finalists_text import PLACES
from analysis.measures import label


@dataclass(frozen=True)
class Rival:
    trial: int
    source: str
    score: float
    low: float
    high: float
    ties: str
    drop: str
    """Validation less test, with its interval; empty where not known."""


@dataclass(frozen=True)
class Rivals:
    score: str
    where: str
    images: int
    rows: list[Rival]
    says: str
    """Who is better than whom, in a sentence."""


def rivals(opened: load.Study) -> Rivals | None:
    """None where no trial was scored on the test split."""
    found = finalists.finalists([opened])
    if not found:
        return None
    name = finalists.default_score(opened, found)
    tested = finalists.pairs(found, name)
    rows = [
        Rival(row.trial, row.source, row.score, row.low, row.high, row.ties, _drop(row))
        for row in finalists.standings(found, name, tested)
    ]
    size = finalists.place(found)
    return Rivals(label(f"test_{name}"), PLACES[size], len(found[0].ids), rows, _says(rows))


def _drop(row: finalists.Standing) -> str:
    if math.isnan(row.drop):
        return ""
    return f"{row.drop:+.3f} ({row.drop_low:+.3f} to {row.drop_high:+.3f})"


def _says(rows: list[Rival]) -> str:
    best, others = rows[0], rows[1:]
    if not others:
        return ""
    tied = [str(row.trial) for row in others if set(row.ties) & set(best.ties)]
    if not tied:
        return f"Trial {best.trial} is better than every other finalist."
    if len(tied) == len(others):
        return "No finalist is told apart from the best: these images are too few to say which is better."
    rest = len(others) - len(tied)
    return f"Trial {best.trial} is not told apart from {', '.join(tied)}; it is better than the other {rest}."
