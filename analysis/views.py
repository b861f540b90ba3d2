"""What the report says of a study, as plain values for its template: sentences, tables, figures, pictures."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis import charts, classes, compare, details, load, pictures, rosetta, sealed, theme
from analysis.advice import Advice, advice
from analysis.charts import Chart
from analysis.leaderboard import Board, leaderboard
from analysis.measures import explain, labels
from analysis.pictures import Duel, Gallery
from analysis.published import published
from analysis.published_text import Block, blocks
from analysis.rivals import Rivals, rivals
from study.records import REPLICATE
from study.redact import redact

SIDES = ("val", "test", "test_native")


@dataclass(frozen=True)
class View:
    """One study in the report."""

    name: str
    address: str
    best_trial: int
    synthetic: bool
    running: bool
    headline: str
    metric: str
    score: str
    sentences: list[str]
    facts: list[tuple[str, str]]
    board: Board
    rivals: Rivals | None
    advice: list[Advice]
    published: list[Block]
    legend: list[theme.Look]
    search: list[Chart]
    scores: list[Chart]
    side_by_side: list[tuple[str, ...]]
    """Every score of the leading trial: its name, its values under `splits`, its definition, who used it."""
    splits: list[str]
    gallery: Gallery | None
    duel: Duel | None
    failures: list[dict[str, Any]]
    measures: dict[str, str]
    command: str
    software: str
    details: str
    """JSON: of each trial, by number, what a click on it shows."""


def view(opened: load.Study) -> View:
    trials, epochs, info = load.trials(opened), load.epochs(opened), opened.info
    found = sealed.finalists([opened])
    score = sealed.default_score(opened, found)
    leader = compare.best(trials)
    counts = None if leader is None else load.counts(opened, int(leader["trial"]))
    sides = pd.DataFrame() if leader is None else rosetta.side_by_side(opened, int(leader["trial"]))
    board, said = leaderboard(trials), labels(trials)
    return View(
        name=info["name"],
        address=redact(_address(opened.address)),
        best_trial=0 if leader is None else int(leader["trial"]),
        synthetic=info["dataset"]["synthetic"],
        running=not info["finished"],
        headline=_headline(trials, leader),
        metric=said(compare.objective(trials).metric),
        score="" if leader is None else f"{leader[compare.objective(trials).metric]:.3f}",
        sentences=list(_sentences(trials, leader, counts)),
        facts=list(_facts(info, trials)),
        board=board,
        rivals=rivals(found, score),
        advice=advice(trials, epochs),
        published=blocks(published([opened])),
        legend=sorted(set(theme.looks(trials).values()), key=lambda look: (-look.rank, look.group)),
        search=charts.laid_out(charts.of_search(trials, epochs, load.stints(opened))),
        scores=charts.laid_out(charts.of_scores(opened, trials, counts, found, score)),
        side_by_side=list(_side_by_side(sides)),
        splits=[name for name in SIDES if name in sides],
        gallery=pictures.gallery(opened),
        duel=pictures.duel(opened),
        failures=[{str(k): v for k, v in row.items()} for row in load.failures(opened).to_dict("records")],
        measures={said(name): explain(name) for name in board.scores},
        command=redact(info["command"]),
        details=details.to_json(opened, trials),
        software=", ".join(f"{name} {version}" for name, version in sorted(info["software"].items())),
    )


def _address(address: str) -> str:
    """Short where the study lies below the working folder: that is where its commands are typed."""
    path, here = Path(address), Path.cwd()
    return str(path.relative_to(here)) if path.is_absolute() and path.is_relative_to(here) else address


def _headline(trials: pd.DataFrame, leader: pd.Series | None) -> str:
    if leader is None:
        return "No trial has finished yet." if len(trials) else "No trial has begun yet."
    who = "of the search" if leader["source"] == compare.SEARCH else f"(published: {leader['source']})"
    return f"Trial {leader['trial']} {who} leads: {leader['model']} trained with {leader['loss']}."


def _sentences(trials: pd.DataFrame, leader: pd.Series | None, counts: pd.DataFrame | None) -> Iterator[str]:
    if leader is None:
        return
    metric = compare.objective(trials).metric
    said = labels(trials)
    score = f"{said(metric)} {leader[metric]:.4f}"
    yield f"{score} at epoch {leader['best_epoch']} of {leader['epochs']}{_spread(counts)}."
    if "pareto" in trials:
        front = ", ".join(map(str, compare.ranked(trials[trials["pareto"]])["trial"]))
        aims = ", ".join(f"{aim.mode} {said(aim.metric)}" for aim in compare.objectives(trials))
        yield f"The Pareto set of {aims}: trials {front}."
    if "test_iou" in trials and pd.notna(leader["test_iou"]):
        native = f", {leader['test_native_iou']:.4f} at the masks' own size" if "test_native_iou" in trials else ""
        yield f"On the sealed test split: IoU {leader['test_iou']:.4f} at training size{native}."
    if hardest := classes.worst(trials):
        yield f"The hardest class is {hardest[0]}, val IoU {hardest[1]:.4f}."
    rivals = compare.baselines(trials).dropna(subset=[metric])
    if leader["source"] == compare.SEARCH and len(rivals):
        rival = compare.ranked(rivals).iloc[0]
        yield f"The best published configuration, {rival['source']}, reaches {rival[metric]:.4f} in this study."


def _spread(counts: pd.DataFrame | None) -> str:
    if counts is None or counts["class"].max() != 1:
        return ""
    values = compare.image_iou(counts)
    low, high = compare.interval(values)
    return f" (over {len(values)} images, the mean IoU lies in {low:.3f}–{high:.3f} with 95 % confidence)"


def _side_by_side(sides: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    splits = [name for name in SIDES if name in sides]
    for _, row in sides.iterrows():
        values = ["" if pd.isna(row[name]) else f"{row[name]:.4f}" for name in splits]
        yield (row["name"], *values, row["definition"], row["used_by"])


def _facts(info: dict[str, Any], trials: pd.DataFrame) -> Iterator[tuple[str, str]]:
    images, spec = info["dataset"]["images"], info["spec"]
    yield "dataset", info["dataset"]["name"] + (", synthetic" if info["dataset"]["synthetic"] else "")
    yield "images", f"{images['train']} train · {images['val']} val · {images['test']} test"
    yield "size", f"{spec['image_size']} × {spec['image_size']} px"
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
