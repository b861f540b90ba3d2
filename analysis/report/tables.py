"""The report's tables: the leaderboard, the details of a trial, and the finalists on the sealed test images."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis import load, ranking
from analysis.figures import theme
from analysis.finalists.sealed import Finalist, place
from analysis.finalists.standings import ONCE, PLACES, Standing, every_score, pairs, standings
from analysis.ranking import Objective, Results
from analysis.scores.definitions import definitions
from analysis.scores.labels import explain, label, labels
from seg.cli import redact
from seg.options import hyperparameter

VISIBLE_ROWS = 15
"""The number of rows that are visible at first; the others unfold."""
TESTS = ("test_iou", "test_dice", "test_native_iou")

HEADINGS = {
    "trial": "trial",
    "state": "state",
    "source": "source",
    "best_epoch": "best epoch",
    "train_seconds": "training",
    "params_total": "parameters",
    "latency_ms": "latency",
    "pareto": "Pareto set",
}
UNITS = {
    "train_seconds": "{:.0f} s",
    "gpu_seconds": "{:.0f} s",
    "latency_ms": "{:.1f} ms",
    "params_total": "{:,}",
    "params_trainable": "{:,}",
}
HINTS = {
    "trial": "Number of the trial, from 0, in the order they began.",
    "state": "COMPLETE, PRUNED (stopped early at a rung), FAILED, INFEASIBLE (does not fit) or RUNNING.",
    "source": "search, or the name of a baseline: the recipe, a published configuration, or one of your own.",
    "best_epoch": "Epoch with the best objective, of the epochs that ran; scores and weights are of that epoch.",
    "train_seconds": "Seconds in all its epochs, validation included.",
    "params_total": "Parameters of the model, frozen ones included.",
    "latency_ms": "Milliseconds that the model takes for one image of the training size, where it was trained.",
    "pareto": "No other finished trial is as good in every objective of the study and better in one.",
    "model": "Architecture of the network.",
    "loss": "What training minimises.",
}


@dataclass(frozen=True)
class Heading:
    name: str
    text: str
    hint: str
    number: bool


@dataclass(frozen=True)
class Row:
    trial: int
    state: str
    baseline: bool
    leads: bool
    """Whether it is the best by the objective."""
    chosen: bool
    """Whether it is the study's choice, which may differ from the best."""
    shown: bool
    """Whether it is highlighted: the choice, or the best if there is no choice yet."""
    colour: str
    glyph: str
    cells: list[str]


@dataclass(frozen=True)
class Board:
    headings: list[Heading]
    rows: list[Row]
    scores: list[str]
    """The score columns among the headings."""

    @property
    def top(self) -> list[Row]:
        """The first rows, then every baseline and the choice below them."""
        return [row for place, row in enumerate(self.rows) if place < VISIBLE_ROWS or row.baseline or row.chosen]

    @property
    def hidden(self) -> bool:
        return len(self.top) < len(self.rows)


def leaderboard(results: Results) -> Board:
    """Return all trials except seed replicates, best first; trials without a score come last."""
    trials, aims = results.ranked, results.objectives
    scores = _scores(trials, aims)
    varied = ranking.varied(trials)
    first = [name for name in ("model", "loss") if name in varied]
    rest = [name for name in varied if name not in first]
    other = [aim.metric for aim in aims[1:] if aim.metric not in scores]
    front = ["pareto"] if "pareto" in trials else []
    names = [*scores[:1], *other, *front, "source", *first, *scores[1:], "state", "best_epoch", *rest, "train_seconds"]
    names = list(dict.fromkeys(names))
    looks = theme.looks(trials)
    best, choice, shown = (
        None if one is None else one["trial"] for one in (results.best, results.choice, results.shown)
    )
    rows = [
        Row(
            trial=int(row["trial"]),
            state=row["state"],
            baseline=row["source"] != ranking.SEARCH,
            leads=row["trial"] == best,
            chosen=row["trial"] == choice,
            shown=row["trial"] == shown,
            colour=looks[int(row["trial"])].colour,
            glyph=looks[int(row["trial"])].glyph,
            cells=[_cell(row, name, scores) for name in names],
        )
        for row in trials.to_dict("records")
    ]
    numeric = {*scores, *other, "best_epoch", "train_seconds"}
    said = labels(trials)
    headings = [_heading(name, said, name in numeric or pd.api.types.is_float_dtype(trials[name])) for name in names]
    return Board(headings, rows, scores)


def _scores(trials: pd.DataFrame, aims: Sequence[Objective]) -> list[str]:
    wanted = [*(aim.metric for aim in aims if aim.metric.startswith("val_")), "val_iou", "val_dice", *TESTS]
    return [name for name in dict.fromkeys(wanted) if name in trials]


def _heading(name: str, said: Callable[[str], str], number: bool) -> Heading:
    of = hyperparameter(name)
    text = HEADINGS.get(name) or (of and of.label) or said(name).replace("_", " ")
    return Heading(name, text, HINTS.get(name) or (of.meaning if of else explain(name)), number)


def _cell(row: Mapping[Any, Any], name: str, scores: list[str]) -> str:
    value = row[name]
    if pd.isna(value):
        return ""
    if name in scores:
        return f"{value:.4f}"
    if name == "best_epoch":
        return f"{value} of {row['epochs']}"
    unit = UNITS.get(name)
    return unit.format(value) if unit else ranking.text(value)


SCORES = ("val_iou", "val_dice", "test_iou", "test_native_iou")


def details(opened: load.Study, trials: pd.DataFrame) -> str:
    """Return JSON with the details of each trial, by number: `title`, `rows` (name and value), and `replay`.

    The JSON stands inside a script element, so `<` is escaped: no text in it can close that element.
    """
    names, said = ranking.hyperparameters(trials), labels(trials)
    scores = [name for name in dict.fromkeys((ranking.objective(trials).metric, *SCORES)) if name in trials]
    address = redact(opened.address)
    shown = {
        row["trial"]: {
            "title": f"trial {row['trial']} · {row['state'].lower()}",
            "rows": [*_rows(row, scores, said), *ranking.configuration(row, names).items()],
            "replay": f"python -m study.replay {address} {row['trial']}",
        }
        for row in trials.to_dict("records")
    }
    return json.dumps(shown).replace("<", "\\u003c")


def _rows(row: Mapping[Any, Any], scores: list[str], said: Any) -> list[tuple[str, str]]:
    source = "" if row["source"] == ranking.SEARCH else row["source"]
    if not pd.isna(row["replicate_of"]):
        source = f"trial {row['replicate_of']} with seed {row['seed']}"
    found = [("source", source), ("why it ended", row["reason"])]
    found += [(said(name), f"{row[name]:.4f}") for name in scores if not pd.isna(row[name])]
    if not pd.isna(row["best_epoch"]):
        found.append(("best epoch", f"{row['best_epoch']} of {row['epochs']}"))
    if not pd.isna(row["train_seconds"]):
        found.append(("training", f"{row['train_seconds']:.0f} s on {row['device']}"))
    return [(name, value) for name, value in found if value]


@dataclass(frozen=True)
class Rivals:
    score: str
    where: str
    images: int
    rows: list[Standing]
    says: str
    """Sentences on which finalist is better, and how much the score varies with the seed."""

    scores: list[tuple[str, ...]]
    """One line per score with an interval: name, definition, then value and interval of each of `rows`."""

    @property
    def repeated(self) -> bool:
        """Whether a finalist was trained with several seeds."""
        return any(row.seeds > 1 for row in self.rows)


def rivals(found: Sequence[Finalist], name: str) -> Rivals | None:
    """Return the table by the score `name`, or None if no trial was scored on the test split."""
    if not found:
        return None
    rows = standings(found, name, pairs(found, name))
    size = place(found)
    says = " ".join(sentence for sentence in (_says(rows), _luck(rows)) if sentence)
    return Rivals(label(f"test_{name}"), PLACES[size], len(found[0].ids), rows, says, _finalist_scores(found, rows))


def _finalist_scores(found: Sequence[Finalist], rows: Sequence[Standing]) -> list[tuple[str, ...]]:
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
        return "No finalist differs significantly from the best: these images are too few to say which is better."
    rest = len(others) - len(tied)
    others_text = "finalist" if rest == 1 else f"{rest} finalists"
    return (
        f"{_who(best)} does not differ significantly from {', '.join(tied)}; it is better than the other {others_text}."
    )


def _who(row: Standing) -> str:
    return f"Trial {row.trial}" if isinstance(row.trial, int) else f"What {row.trial} predicts"


def _luck(rows: list[Standing]) -> str:
    """Return a sentence: whether the two best trials differ by more than the largest deviation between seeds."""
    repeated = [row for row in rows if row.seeds > 1]
    if not repeated:
        return f"{ONCE}." if len(rows) > 1 else ""
    widest = max(repeated, key=lambda row: row.deviation)
    spread = f"With its seed trial {widest.trial} varies by ± {widest.deviation:.4f}"
    alone = [row for row in rows if isinstance(row.trial, int)]
    if len(alone) < 2:
        return f"{spread}."
    first, second = sorted(alone, key=lambda row: -row.score)[:2]
    gap = first.score - second.score
    verdict = "less" if gap < widest.deviation else "more"
    return f"{spread}; trials {first.trial} and {second.trial} differ by {gap:.4f}, {verdict} than that."
