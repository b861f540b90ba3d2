"""The style of the figures: one template, and one look for each trial, the same in every figure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from analysis import ranking
from study.store.records import REPLICATE

# Okabe & Ito 2008: distinguishable with every kind of colour vision. Grey is for what was stopped or failed.
BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#8C929B"
BASELINES = (
    ("#009E73", "diamond"),
    ("#CC79A7", "square"),
    ("#E69F00", "triangle-up"),
    ("#56B4E9", "pentagon"),
    ("#B8A800", "hexagram"),
)
"""The colour and symbol of each baseline, in the order of their first trials; they repeat if there are more."""

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
"""The same symbols as text."""

CLASSES = ("#56B4E9", "#E69F00", "#009E73", "#F0E442", "#D55E00", "#CC79A7")
"""The colours of the classes after background, as in the pictures of masks; they repeat if there are more."""

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
"""The template of all figures: transparent, so that it works on light and dark pages."""


@dataclass(frozen=True)
class Look:
    """The look of a trial in the figures."""

    group: str
    """The trial's entry in the legend."""
    colour: str
    symbol: str
    rank: int
    """The drawing order: the trials that matter most have the highest rank and lie on top."""
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
"""The rank of the best trial, whether it is a baseline or not."""
SEARCHED = Look("searched", BLUE, "circle", 2, opacity=0.85)
STOPPED = Look("stopped early", GREY, "x-thin", 1, 1, opacity=0.7)
RUNNING = Look("running", BLUE, "circle-open", 2, 1.5, "dot")
REPEATED = Look("other seeds", "#8FC1E3", "circle-open", 1, 1, "dot", 0.6)
BROKEN = Look("failed", GREY, "circle-x-open", 0, 1, "dot", 0.7)
BY_STATE = {"COMPLETE": SEARCHED, "PRUNED": STOPPED, "RUNNING": RUNNING}


def looks(trials: pd.DataFrame) -> dict[int, Look]:
    """Return the look of each trial, by its number."""
    leader = ranking.best(trials)
    named = ranking.names(trials)
    best = None if leader is None else int(leader["trial"])
    rows = zip(trials["trial"], trials["source"], trials["state"], strict=True)
    return {int(trial): _look(trial, source, state, named, trial == best) for trial, source, state in rows}


def _look(trial: int, source: str, state: str, named: Mapping[str, str], leads: bool) -> Look:
    """Return the look of one trial; `named` has the display name of each baseline, by its source."""
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
    """Return each trial's row, by its number."""
    return {row["trial"]: row for row in trials.to_dict("records")}


def hover(row: Mapping[Any, Any] | pd.Series, score: str, names: list[str]) -> str:
    """Return a trial's hover text: its number, state, and source, the score, then its configuration."""
    source = "" if row["source"] == ranking.SEARCH else f" · {escape(row['source'])}"
    source = " · with another seed" if row["source"] == REPLICATE else source
    lines = [f"<b>trial {row['trial']}</b> · {str(row['state']).lower()}{source}", score]
    lines += [f"{name} {escape(value)}" for name, value in ranking.configuration(row, names).items()]
    return "<br>".join(line for line in lines if line) + "<extra></extra>"


def pointed(trials: pd.Series, score: str) -> dict[str, Any]:
    """Return the ids and short hover texts of trials, for figures with many points.

    The texts have only the trial's number and score; a click shows the rest.
    """
    numbers = trials.astype(str)
    return {
        "ids": numbers,
        "hovertext": numbers,
        "hovertemplate": f"<b>trial %{{hovertext}}</b><br>{score} %{{y:.4f}}<extra></extra>",
    }


def axis(scale: str, names: Sequence[Any] = (), bounds: tuple[float, float] | None = None) -> dict[str, Any]:
    """Return the axis of a choice with the scale `names`, `log`, or `linear`.

    Names keep their order. Numbers show the whole range that was searched (`bounds`), not only what was tried.
    """
    if scale == "names":
        return {"type": "category", "categoryorder": "array", "categoryarray": [ranking.text(name) for name in names]}
    log = {"dtick": 1, "exponentformat": "e"} if scale == "log" else {}
    if bounds:
        low, high = map(math.log10, bounds) if scale == "log" else bounds
        log["range"] = [low - (high - low) / 20, high + (high - low) / 20]
    return {"type": "log" if scale == "log" else "linear", **log}


def reach(rows: pd.DataFrame, score: str = "score") -> dict[str, Any]:
    """Return error bars from `low` to `high`."""
    ends = {"array": rows["high"] - rows[score], "arrayminus": rows[score] - rows["low"]}
    return {"type": "data", "symmetric": False, "thickness": 2, "width": 5, **ends}


def line(look: Look, shown: set[str]) -> dict[str, object]:
    """Return a line's style and legend entry; trials drawn alike share one entry.

    `shown` collects the entries that the legend already has.
    """
    first = look.group not in shown
    shown.add(look.group)
    line = {"color": look.colour, "width": look.width, "dash": look.dash}
    return {"line": line, "opacity": look.opacity, "name": look.group, "legendgroup": look.group, "showlegend": first}
