"""How figures look: one template, and one look for each trial, the same in every figure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from analysis import compare
from study.records import REPLICATE

# Okabe & Ito 2008, told apart with every kind of colour vision; grey for what was given up.
BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#8C929B"
BASELINES = (
    ("#009E73", "diamond"),
    ("#CC79A7", "square"),
    ("#E69F00", "triangle-up"),
    ("#56B4E9", "pentagon"),
    ("#B8A800", "hexagram"),
)
"""Colour and symbol of each baseline, in the order of their first trials; more begin again."""

GLYPHS = {
    "circle": "●",
    "circle-open": "○",
    "circle-x-open": "⊗",
    "x-thin": "✕",
    "star": "★",
    "diamond": "◆",
    "square": "■",
    "triangle-up": "▲",
    "pentagon": "⬟",
    "hexagram": "✶",
}
"""The same symbols in text."""

CLASSES = ("#56B4E9", "#E69F00", "#009E73", "#F0E442", "#D55E00", "#CC79A7")
"""Colours of the classes after background, as the pictures of masks have them; more begin again."""

CLEAR = "rgba(0,0,0,0)"
GRID = "rgba(128,134,145,0.25)"
TEXT = "#5B6472"
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'

_RING = {"gridcolor": GRID, "linecolor": GRID}
_AXIS = {**_RING, "zeroline": False, "automargin": True, "title": {"standoff": 12}, "ticklabelstandoff": 4}
TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": FONT, "size": 13, "color": TEXT},
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "margin": {"l": 56, "r": 20, "t": 20, "b": 48},
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "polar": {"bgcolor": CLEAR, "radialaxis": _RING, "angularaxis": _RING},
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": -0.2, "yanchor": "top", "bgcolor": CLEAR},
        "hovermode": "closest",
        "hoverlabel": {"align": "left", "font": {"family": FONT, "size": 12}},
    }
)
"""Transparent, so that a figure stands on a light page and on a dark one."""


@dataclass(frozen=True)
class Look:
    """How a trial is drawn."""

    group: str
    """Its entry in the legend."""
    colour: str
    symbol: str
    rank: int
    """Drawn in this order: what matters most lies on top."""
    width: float = 1.5
    dash: str = "solid"
    opacity: float = 1.0

    @property
    def glyph(self) -> str:
        return GLYPHS[self.symbol]

    @property
    def size(self) -> float:
        return 12 if self.rank >= 3 else 8


LEADS = 4
"""Rank of the best trial, baseline or not."""
SEARCHED = Look("searched", BLUE, "circle", 2, opacity=0.85)
STOPPED = Look("stopped early", GREY, "x-thin", 1, 1, opacity=0.7)
RUNNING = Look("running", BLUE, "circle-open", 2, 1.5, "dot")
REPEATED = Look("other seeds", "#8FC1E3", "circle-open", 1, 1, "dot", 0.6)
BROKEN = Look("failed", GREY, "circle-x-open", 0, 1, "dot", 0.7)
BY_STATE = {"COMPLETE": SEARCHED, "PRUNED": STOPPED, "RUNNING": RUNNING}


def looks(trials: pd.DataFrame) -> dict[int, Look]:
    """How to draw each trial, by its number."""
    leader = compare.best(trials)
    named = compare.names(trials)
    best = None if leader is None else int(leader["trial"])
    told = zip(trials["trial"], trials["source"], trials["state"], strict=True)
    return {int(trial): _look(trial, source, state, named, trial == best) for trial, source, state in told}


def _look(trial: int, source: str, state: str, named: Mapping[str, str], leads: bool) -> Look:
    """`named`: each baseline as people read it, by its source."""
    if source in named:
        colour, symbol = BASELINES[[*named].index(source) % len(BASELINES)]
        name = named[source] + (", best" if leads else "")
        return Look(name, colour, symbol, LEADS if leads else 3, 3.5 if leads else 2, "solid" if leads else "dash")
    if leads:
        return Look(f"best: trial {trial}", VERMILION, "star", LEADS, 3.5)
    if source == REPLICATE and state == "COMPLETE":
        return REPEATED
    return BY_STATE.get(state, BROKEN)


def figure(height_px: int = 400, x_title: str = "", y_title: str = "") -> go.Figure:
    drawn = go.Figure(layout={"template": TEMPLATE, "height": height_px})
    return drawn.update_xaxes(title_text=x_title).update_yaxes(title_text=y_title)


def by_number(trials: pd.DataFrame) -> dict[int, dict[Any, Any]]:
    """Each trial's row, by its number."""
    return {row["trial"]: row for row in trials.to_dict("records")}


def hover(row: Mapping[Any, Any] | pd.Series, score: str, names: list[str]) -> str:
    """Trial number, score, state and source, then its configuration: what a figure shows under the pointer."""
    source = "" if row["source"] == compare.SEARCH else f" · {escape(row['source'])}"
    source = " · with another seed" if row["source"] == REPLICATE else source
    lines = [f"<b>trial {row['trial']}</b> · {str(row['state']).lower()}{source}", score]
    lines += [f"{name} {escape(value)}" for name, value in compare.configuration(row, names).items()]
    return "<br>".join(line for line in lines if line) + "<extra></extra>"


def pointed(trials: pd.Series, score: str) -> dict[str, Any]:
    """A point a trial, where a figure has many: under the pointer its number and score, all else a click away."""
    numbers = trials.astype(str)
    return {
        "ids": numbers,
        "hovertext": numbers,
        "hovertemplate": f"<b>trial %{{hovertext}}</b><br>{score} %{{y:.4f}}<extra></extra>",
    }


def axis(scale: str, names: Sequence[Any] = (), bounds: tuple[float, float] | None = None) -> dict[str, Any]:
    """Of a choice: `names`, in their order, `log` or `linear`; of numbers all that was searched, not only tried."""
    if scale == "names":
        return {"type": "category", "categoryorder": "array", "categoryarray": [compare.text(name) for name in names]}
    log = {"dtick": 1, "exponentformat": "e"} if scale == "log" else {}
    if bounds:
        low, high = map(math.log10, bounds) if scale == "log" else bounds
        log["range"] = [low - (high - low) / 20, high + (high - low) / 20]
    return {"type": "log" if scale == "log" else "linear", **log}


def reach(rows: pd.DataFrame, score: str = "score") -> dict[str, Any]:
    """Error bars from `low` to `high`."""
    ends = {"array": rows["high"] - rows[score], "arrayminus": rows[score] - rows["low"]}
    return {"type": "data", "symmetric": False, "thickness": 2, "width": 5, **ends}


def line(look: Look, shown: set[str]) -> dict[str, object]:
    """`shown` gathers the legend's entries: trials drawn alike share one."""
    first = look.group not in shown
    shown.add(look.group)
    line = {"color": look.colour, "width": look.width, "dash": look.dash}
    return {"line": line, "opacity": look.opacity, "name": look.group, "legendgroup": look.group, "showlegend": first}
