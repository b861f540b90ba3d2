"""The report's table of finalists: who leads on the sealed test images, and who is not told apart from whom."""

from collections.abc import Sequence
from dataclasses import dataclass

from analysis import finalists_text
from analysis.definitions import definitions
from analysis.measures import label
from analysis.sealed import Finalist, place
from analysis.standings import Standing, every_score, pairs, standings


@dataclass(frozen=True)
class Rivals:
    score: str
    where: str
    images: int
    rows: list[Standing]
    says: str
    """Who is better than whom, and how much of it is the seed."""

    scores: list[tuple[str, ...]]
    """Every score that has an interval: its name, how it is measured, and of each of `rows` its value and interval."""

    @property
    def repeated(self) -> bool:
        """Whether one was trained with several seeds."""
        return any(row.seeds > 1 for row in self.rows)


def rivals(found: Sequence[Finalist], name: str) -> Rivals | None:
    """By the score `name`; None where no trial was scored on the test split."""
    if not found:
        return None
    rows = standings(found, name, pairs(found, name))
    size = place(found)
    says = " ".join(sentence for sentence in (_says(rows), _luck(rows)) if sentence)
    return Rivals(
        label(f"test_{name}"), finalists_text.PLACES[size], len(found[0].ids), rows, says, _scores(found, rows)
    )


def _scores(found: Sequence[Finalist], rows: Sequence[Standing]) -> list[tuple[str, ...]]:
    every = every_score(found)
    every["text"] = [f"{one.value:.4f} ({one.low:.4f}–{one.high:.4f})" for one in every.itertuples()]
    every["trial"] = every["trial"].astype(str)
    cells = every.pivot(index="score", columns="trial", values="text").fillna("")
    known = {d.name: d.text for d in definitions(found[0].test[place(found)])}
    trials = [str(row.trial) for row in rows]
    return [(name, known.get(name, ""), *cells.loc[name, trials]) for name in every["score"].unique()]


def _says(rows: list[Standing]) -> str:
    best, others = rows[0], rows[1:]
    if not others:
        return ""
    tied = [str(row.trial) for row in others if set(row.ties) & set(best.ties)]
    if not tied:
        return f"{_who(best)} is better than every other finalist."
    if len(tied) == len(others):
        return "No finalist is told apart from the best: these images are too few to say which is better."
    rest = len(others) - len(tied)
    return f"{_who(best)} is not told apart from {', '.join(tied)}; it is better than the other {rest}."


def _who(row: Standing) -> str:
    return f"Trial {row.trial}" if isinstance(row.trial, int) else f"What {row.trial} predicts"


def _luck(rows: list[Standing]) -> str:
    """Over the seeds: whether the two best differ by more than one of them does with its seed."""
    repeated = [row for row in rows if row.seeds > 1]
    if not repeated:
        return f"{finalists_text.ONCE}." if len(rows) > 1 else ""
    widest = max(repeated, key=lambda row: row.deviation)
    spread = f"With its seed trial {widest.trial} varies by ± {widest.deviation:.4f}"
    alone = [row for row in rows if isinstance(row.trial, int)]
    if len(alone) < 2:
        return f"{spread}."
    first, second = sorted(alone, key=lambda row: -row.score)[:2]
    gap = first.score - second.score
    verdict = "less" if gap < widest.deviation else "more"
    return f"{spread}; trials {first.trial} and {second.trial} differ by {gap:.4f}, {verdict} than that."
