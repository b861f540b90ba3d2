"""The report's content on a study as plain values for the template: sentences, tables, figures, pictures."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import load, ranking, rosetta
from analysis.figures import theme
from analysis.finalists import sealed
from analysis.hyperparameters.advice import Advice, advice
from analysis.published import published
from analysis.published.rows import Block, blocks
from analysis.report import charts, pictures
from analysis.report.charts import Chart
from analysis.report.opening import Verdict, verdict
from analysis.report.pictures import Duel, Gallery
from analysis.report.tables import Board, Rivals, details, leaderboard, rivals
from analysis.scores.labels import explain, labels
from seg.cli import redact
from study.store.records import REPLICATE

SIDES = ("val", "test", "test_native")


@dataclass(frozen=True)
class View:
    """One study in the report."""

    name: str
    address: str
    trial: int
    """The study's choice, or the best trial if there is no choice yet."""
    synthetic: bool
    running: bool
    about: str
    """The dataset in one line."""
    verdict: Verdict
    metric: str
    """The objective's name for readers."""
    tags: dict[str, str]
    """The kind of each baseline by its source, unless the source is the kind's name."""
    facts: list[tuple[str, str]]
    board: Board
    rivals: Rivals | None
    advice: list[Advice]
    published: list[Block]
    legend: list[theme.Look]
    search: list[Chart]
    scores: list[Chart]
    side_by_side: list[tuple[str, ...]]
    """Every score of `trial`: name, its values on `splits`, definition, and the systems that used it."""
    splits: list[str]
    gallery: Gallery | None
    duel: Duel | None
    failures: list[dict[str, Any]]
    measures: dict[str, str]
    command: str
    software: str
    details: str
    """JSON with what a click on a trial shows, by trial number."""


def view(opened: load.Study) -> View:
    """Return the report's content on a study. Raises StoreError if its files cannot be read meanwhile."""
    with opened.store.reached():
        return _view(opened)


def _view(opened: load.Study) -> View:
    trials, epochs, info = load.trials(opened), load.epochs(opened), opened.info
    found = sealed.finalists([opened])
    score = sealed.default_score(opened, found)
    results = ranking.results(trials)
    trial = None if results.shown is None else int(results.shown["trial"])
    counts = None if trial is None else load.counts(opened, trial)
    sides = pd.DataFrame() if trial is None else rosetta.side_by_side(opened, trial)
    board, said = leaderboard(results), labels(trials)
    return View(
        name=info["name"],
        address=redact(_address(opened.address)),
        trial=trial or 0,
        synthetic=info["dataset"]["synthetic"],
        running=not info["finished"],
        about=_about(info),
        verdict=verdict(info, results, counts),
        metric=said(results.objective.metric),
        tags={name: kind for name, kind in ranking.kinds(trials).items() if kind != name},
        facts=list(_facts(info, trials)),
        board=board,
        rivals=rivals(found, score),
        advice=advice(trials, epochs),
        published=blocks(published([opened])),
        legend=sorted(set(theme.looks(trials).values()), key=lambda look: (-look.rank, look.group)),
        search=charts.laid_out(charts.of_search(trials, epochs, load.stints(opened))),
        scores=charts.laid_out(charts.of_scores(opened, results, counts, found, score)),
        side_by_side=list(_side_by_side(sides)),
        splits=[name for name in SIDES if name in sides],
        gallery=pictures.gallery(opened),
        duel=pictures.duel(opened),
        failures=[{str(k): v for k, v in row.items()} for row in load.failures(opened).to_dict("records")],
        measures={said(name): explain(name) for name in board.scores},
        command=redact(info["command"]),
        details=details(opened, trials),
        software=", ".join(f"{name} {version}" for name, version in sorted(info["software"].items())),
    )


def _address(address: str) -> str:
    """Return the address, relative to the working folder if the study lies below it.

    The study's commands are typed in that folder.
    """
    path, here = Path(address), Path.cwd()
    return str(path.relative_to(here)) if path.is_absolute() and path.is_relative_to(here) else address


def _side_by_side(sides: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    splits = [name for name in SIDES if name in sides]
    for _, row in sides.iterrows():
        values = ["" if pd.isna(row[name]) else f"{row[name]:.4f}" for name in splits]
        yield (row["name"], *values, row["definition"], row["used_by"])


def _about(info: dict[str, Any]) -> str:
    images, side = info["dataset"]["images"], info["spec"]["image_size"]
    name = info["dataset"]["name"] + (", synthetic" if info["dataset"]["synthetic"] else "")
    return f"{name}: {images['train']} train · {images['val']} val · {images['test']} test images, {side} × {side} px"


def _facts(info: dict[str, Any], trials: pd.DataFrame) -> Iterator[tuple[str, str]]:
    states = Counter(trials["state"])
    again = int((trials["source"] == REPLICATE).sum())
    counted = [f"{count} {state.lower()}" for state, count in states.items()]
    yield "trials", " · ".join(counted + ([f"{again} of them with other seeds"] if again else [])) or "none"
    yield "training", duration(float(trials["train_seconds"].sum()))
    yield "machine", _machine(info["machine"])
    if info["dataset"]["remark"]:
        yield "remark", info["dataset"]["remark"]


def _machine(machine: dict[str, Any]) -> str:
    gpus = machine["gpus"]
    count = len(gpus) if isinstance(gpus, list) else gpus
    nodes = machine.get("nodes", 1)
    where = f" on {nodes} nodes" if nodes > 1 else ""
    return f"{machine['cpus']} CPUs" + (f", {count} GPU{'s' if count > 1 else ''}" if count else "") + where


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
