"""The report's table of finalists: who leads on the sealed test images, and who is not told apart from whom."""

from collections.abc import Sequence
from dataclasses import dataclass

from analysis import finalists
from analysis.finalists import Finalist, Standing
from analysis.finalists_text import PLACES
from analysis.measures import label


@dataclass(frozen=True)
class Rivals:
    score: str
    where: str
    images: int
    rows: list[Standing]
    says: str
    """Who is better than whom, in a sentence."""


def rivals(found: Sequence[Finalist], name: str) -> Rivals | None:
    """By the score `name`; None where no trial was scored on the test split."""
    if not found:
        return None
    rows = finalists.standings(found, name, finalists.pairs(found, name))
    size = finalists.place(found)
    return Rivals(label(f"test_{name}"), PLACES[size], len(found[0].ids), rows, _says(rows))


def _says(rows: list[Standing]) -> str:
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
