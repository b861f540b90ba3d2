"""One self-contained HTML file for one study or several: it opens without a network, on a phone, on paper.

python -m analysis.report STUDY [STUDY ...] [--out report.html]
"""

import argparse
import base64
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from analysis import compare, figures
from analysis.columns import COLUMNS
from analysis.load import StudyNotFound, epoch_table, open_study, trial_table
from study.records import Record, read_records
from study.store import Store

SHOWN_TRIALS = 200
"""Rows of the leaderboard in the report; the table has all."""


def write_report(studies: Sequence[str], out: str | None = None) -> str:
    """Write the report of `studies` to the file `out`, by default report.html in the first study. Its place.

    StudyNotFound where one of them is none."""
    stores = [open_study(study) for study in studies]
    html = render([describe(store) for store in stores]).encode()
    if out is None:
        stores[0].write("report.html", html)
        return f"{stores[0].uri}/report.html"
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    Path(out).write_bytes(html)
    return out


def render(studies: list[dict[str, Any]]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template("report.html.jinja").render(studies=studies, plotly_js=get_plotlyjs())


def describe(store: Store) -> dict[str, Any]:
    """Everything that the template shows of one study."""
    info, records = store.read_json("study.json"), read_records(store)
    trials, epochs = trial_table(records), epoch_table(records)
    metric, mode = info["spec"]["objective"]["metric"], info["spec"]["objective"]["mode"]
    order = compare.leaderboard(trials, metric, mode) if len(trials) else trials
    images = info["dataset"]["images"]
    return {
        "name": info["name"],
        "uri": store.uri,
        "metric": metric,
        "subtitle": f"{info['dataset']['name']}: {images['train']} training, {images['val']} validation and "
        f"{images['test']} test images at {info['spec']['image_size']} px · begun {info['created'][:16]} UTC",
        "synthetic": info["dataset"]["synthetic"],
        "remark": "" if info["dataset"]["synthetic"] else info["dataset"]["remark"],
        "headline": headline(order, metric),
        "tiles": list(tiles(order, metric)),
        **leaderboard(order, metric),
        "figures": list(drawn(trials, epochs, metric, mode)),
        **gallery(store),
        "failures": [_failure(record) for record in records if record.state in ("FAILED", "INFEASIBLE")],
        "best_trial": int(order["trial"].iloc[0]) if len(order) else 0,
        "command": info["command"],
        "made_with": ", ".join(f"{name} {version}" for name, version in info["software"].items()),
    }


def headline(order: pd.DataFrame, metric: str) -> str:
    """The answer in a sentence or two."""
    scored = order[order[metric].notna()] if len(order) else order
    if not len(scored):
        return "No trial has a score yet."
    best = scored.iloc[0]
    text = f"Trial {best['trial']} leads with {metric} {best[metric]:.4f}: {choices(best)}."
    if "test_native_iou" in order and pd.notna(best.get("test_native_iou")):
        text += (
            f" On the sealed test split it reaches IoU {best['test_native_iou']:.4f} at the masks' own size"
            f" ({best['test_iou']:.4f} at training size)."
        )
    published = scored[compare.is_baseline(scored)]
    if len(published) and best["source"] == "search":
        rival = published.iloc[0]
        text += f" The best published baseline, {rival['source']}, has {rival[metric]:.4f} here."
    return text


def choices(row: pd.Series) -> str:
    encoder = "frozen" if row["encoder_freeze"] else f"at {row['encoder_lr']:.1e}"
    source = "" if row["source"] == "search" else f"{row['source']}: "
    return (
        f"{source}{row['model']}, {row['loss']} loss, encoder {encoder}, decoder at {row['decoder_lr']:.1e}, "
        f"augmentation {row['augment']}, batch {row['batch_size']}"
    )


def tiles(order: pd.DataFrame, metric: str) -> Iterator[dict[str, str]]:
    if not len(order):
        return
    states = order["state"].value_counts()
    yield {"value": f"{order[metric].iloc[0]:.4f}", "label": f"best {metric} (trial {order['trial'].iloc[0]})"}
    if "test_native_iou" in order:
        tested = order[order["test_native_iou"].notna()]
        yield {"value": f"{tested['test_native_iou'].iloc[0]:.4f}", "label": "its test IoU, native size"}
    yield {"value": str(len(order)), "label": " · ".join(f"{n} {str(state).lower()}" for state, n in states.items())}
    yield {"value": str(int(order["epochs"].sum())), "label": f"epochs of {int(order['epochs_planned'].sum())} planned"}
    yield {"value": f"{order['train_seconds'].sum() / 3600:.2f} h", "label": "of training and validation"}


def leaderboard(order: pd.DataFrame, metric: str) -> dict[str, Any]:
    shown = [column for column in COLUMNS if column.name in order or column.name == metric]
    rows = [
        {
            "trial": int(row["trial"]),
            "baseline": row["source"] != "search",
            "kind": "best" if place == 0 else "stopped" if row["state"] != "COMPLETE" else "",
            "cells": [column.text(row[column.name]) for column in shown],
        }
        for place, (_, row) in enumerate(order.head(SHOWN_TRIALS).iterrows())
    ]
    headings = [{"title": c.title, "meaning": c.meaning, "number": c.number} for c in shown]
    return {"columns": headings, "rows": rows, "hidden": max(len(order) - SHOWN_TRIALS, 0)}


def drawn(trials: pd.DataFrame, epochs: pd.DataFrame, metric: str, mode: str) -> Iterator[dict[str, Any]]:
    if not len(epochs):
        return
    yield _drawn("Best so far", "Each ended trial, in the order they ended.", figures.history(trials, metric, mode))
    yield _drawn(
        "Learning curves", "Validation by epoch: the best trial, and the baselines.",
        figures.learning_curves(epochs, metric, mode),
    )  # fmt: skip
    yield _drawn(
        "What mattered", "PED-ANOVA over the searched trials: a share, not a direction.",
        figures.importance(trials, metric, mode),
    )  # fmt: skip
    if compare.is_baseline(trials).any() and "val_sensitivity" in trials:
        yield _drawn("Best trial and baselines", "Validation scores, each at its best epoch.", figures.radar(trials))
    caption = "Every scored trial through its choices. Drag along an axis to keep only a part of it."
    yield _drawn("All choices", caption, figures.parallel_coordinates(trials, metric, mode), wide=True)


def _drawn(title: str, caption: str, figure: go.Figure, wide: bool = False) -> dict[str, Any]:
    options = {"responsive": True, "displaylogo": False, "displayModeBar": False}
    html = figure.to_html(full_html=False, include_plotlyjs=False, config=options)
    return {"title": title, "caption": caption, "html": html, "wide": wide}


def gallery(store: Store) -> dict[str, Any]:
    if not store.exists("gallery/gallery.json"):
        return {"gallery": [], "gallery_trial": None}
    index = store.read_json("gallery/gallery.json")
    titles = {"worst": "Worst", "median": "Median"}
    groups = [
        {"title": title, "images": [_picture(store, image) for image in index["images"] if image["rank"] == rank]}
        for rank, title in titles.items()
    ]
    return {"gallery": groups, "gallery_trial": index["trial"]}


def _picture(store: Store, image: dict[str, Any]) -> dict[str, Any]:
    return image | {"png": base64.b64encode(store.read(f"gallery/{image['file']}")).decode()}


def _failure(record: Record) -> dict[str, Any]:
    return {
        "trial": record.trial,
        "state": str(record.state),
        "reason": record.reason,
        "traceback": record.traceback or "no traceback was kept",
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m analysis.report", description="One HTML file of a study.")
    parser.add_argument("studies", nargs="+", metavar="STUDY", help="<storage>/<name>, a folder or s3://...")
    parser.add_argument("--out", metavar="FILE", help="default: report.html in the first study")
    given = parser.parse_args(arguments)
    try:
        place = write_report(given.studies, given.out)
    except StudyNotFound as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"report: {place}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
