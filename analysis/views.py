"""What the report says of a study, as plain values for its template: sentences, tables, figures, pictures."""

import base64
import io
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from PIL import Image

from analysis import compare, figures, load, theme
from analysis import importance as importances
from analysis.leaderboard import Board, leaderboard
from analysis.measures import explain, label
from analysis.published import published
from analysis.published_text import Block, blocks

JPEG_QUALITY = 88
SPLITS = {"val": "validation split", "test": "sealed test split"}


@dataclass(frozen=True)
class Chart:
    key: str
    title: str
    caption: str
    json: str
    wide: bool = False


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
    published: list[Block]
    legend: list[theme.Look]
    charts: list[Chart]
    gallery: dict[str, list[dict[str, str]]]
    gallery_trial: int | None
    failures: list[dict[str, Any]]
    measures: dict[str, str]
    command: str
    software: str


def view(opened: load.Study) -> View:
    trials, info = load.trials(opened), opened.info
    leader = compare.best(trials)
    counts = None if leader is None else load.counts(opened, int(leader["trial"]))
    gallery_trial, pictures = load.gallery(opened)
    board = leaderboard(trials)
    return View(
        name=info["name"],
        address=_address(opened.address),
        best_trial=0 if leader is None else int(leader["trial"]),
        synthetic=info["dataset"]["synthetic"],
        running=not info["finished"],
        headline=_headline(trials, leader),
        metric=label(compare.objective(trials).metric),
        score="" if leader is None else f"{leader[compare.objective(trials).metric]:.3f}",
        sentences=list(_sentences(trials, leader, counts)),
        facts=list(_facts(info, trials)),
        board=board,
        published=blocks(published([opened])),
        legend=sorted(set(theme.looks(trials).values()), key=lambda look: (-look.rank, look.group)),
        charts=list(_charts(opened, trials, leader, counts)),
        gallery={rank: [_picture(p) for p in pictures if p.rank == rank] for rank in ("worst", "median")},
        gallery_trial=gallery_trial,
        failures=[{str(k): v for k, v in row.items()} for row in load.failures(opened).to_dict("records")],
        measures={label(name): explain(name) for name in board.scores},
        command=info["command"],
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
    yield (
        f"{label(metric)} {leader[metric]:.4f} at epoch {leader['best_epoch']} of {leader['epochs']}{_spread(counts)}."
    )
    if "test_iou" in trials and pd.notna(leader["test_iou"]):
        native = f", {leader['test_native_iou']:.4f} at the masks' own size" if "test_native_iou" in trials else ""
        yield f"On the sealed test split: IoU {leader['test_iou']:.4f} at training size{native}."
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


def _facts(info: dict[str, Any], trials: pd.DataFrame) -> Iterator[tuple[str, str]]:
    images, spec = info["dataset"]["images"], info["spec"]
    yield "dataset", info["dataset"]["name"] + (", synthetic" if info["dataset"]["synthetic"] else "")
    yield "images", f"{images['train']} train · {images['val']} val · {images['test']} test"
    yield "size", f"{spec['image_size']} × {spec['image_size']} px"
    states = Counter(trials["state"])
    yield "trials", " · ".join(f"{count} {state.lower()}" for state, count in states.items()) or "none"
    yield "training", duration(float(trials["train_seconds"].sum()))
    yield "machine", _machine(info["machine"])
    if info["dataset"]["remark"]:
        yield "remark", info["dataset"]["remark"]


def _machine(machine: dict[str, Any]) -> str:
    gpus = machine["gpus"]
    count = len(gpus) if isinstance(gpus, list) else gpus
    return f"{machine['cpus']} CPUs" + (f", {count} GPU{'s' if count > 1 else ''}" if count else "")


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _charts(
    opened: load.Study, trials: pd.DataFrame, leader: pd.Series | None, counts: pd.DataFrame | None
) -> Iterator[Chart]:
    if compare.history(trials).empty:
        return
    yield _chart("history", trials, "Best so far", "Each trial's score in the order they ended; the line is the best.")
    yield _chart("history_by_time", trials, "Best by training time", "The same against the training time spent.")
    curves = "The best trial, published baselines (dashed) and every other trial; a cross ends one stopped early."
    yield _chart("learning_curves", load.epochs(opened), "Learning curves", curves, wide=True)
    lines = "Each line is a trial, from its choices to its score. Point at a line for its values."
    yield _chart("parallel_coordinates", trials, "Configurations", lines, wide=True)
    if len(importances.importance(trials)):
        why = "How much each choice decides whether a searched trial is among the best (PED-ANOVA). Not its direction."
        yield _chart("importance", trials, "What mattered", why)
    scores = compare.radar_scores(trials)
    if len(scores) > 1:
        how = f"Measured here, all alike, on the {SPLITS[scores.attrs['split']]}."
        yield _chart("radar", trials, "Best and published, score by score", how)
    if leader is not None and counts is not None:
        title = f"Image by image, trial {leader['trial']}"
        yield _chart("image_scores", counts, title, "How IoU spreads over the validation images.", wide=len(scores) > 1)


def _chart(name: str, table: pd.DataFrame, title: str, caption: str, wide: bool = False) -> Chart:
    """`json` stands inside a script element, which nothing in it may end."""
    draw: Callable[[pd.DataFrame], go.Figure] = getattr(figures, name)
    return Chart(name, title, caption, draw(table).to_json().replace("<", "\\u003c"), wide)


def _picture(picture: load.Picture) -> dict[str, str]:
    """As JPEG: a tenth of the PNG, and the report is to be sent by mail."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(picture.png)).convert("RGB").save(buffer, "JPEG", quality=JPEG_QUALITY)
    return {"id": picture.id, "iou": f"{picture.iou:.3f}", "jpeg": base64.b64encode(buffer.getvalue()).decode()}
