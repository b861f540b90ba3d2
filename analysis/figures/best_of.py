"""What the best of so many trials may be expected to be, value by value of the choice that a study compares."""

from html import escape

import pandas as pd
import plotly.graph_objects as go

from analysis import compare, comparison, theme
from analysis.measures import labels

COLOURS = (theme.VERMILION, theme.BLUE, *(colour for colour, _ in theme.BASELINES))
"""Of the values, the leading one first; more begin again."""


def best_of(trials: pd.DataFrame) -> go.Figure:
    """A line a value, and a band in which 95 % of the bests lie."""
    metric = labels(trials)(compare.objective(trials).metric)
    figure = theme.figure(380, f"trials of each {comparison.choice(trials)}", f"best {metric}, expected")
    curves = comparison.curves(trials)
    for place, one in enumerate(comparison.standings(trials)):
        colour = COLOURS[place % len(COLOURS)]
        curve = curves[curves["value"] == one.value]
        name = {"name": str(one.value), "legendgroup": str(one.value), "hoverinfo": "skip"}
        edge = {"x": curve["trials"], "mode": "lines", "line": {"width": 0, "color": colour}, "showlegend": False}
        figure.add_scatter(y=curve["low"], **edge, **name)
        figure.add_scatter(y=curve["high"], fill="tonexty", fillcolor=_faint(colour), **edge, **name)
        name["hovertemplate"] = f"<b>{escape(str(one.value))}</b><br>of %{{x}} trials: %{{y:.4f}}<extra></extra>"
        figure.add_scatter(x=curve["trials"], y=curve["expected"], line={"color": colour, "width": 2.5}, **name)
    return figure


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.15)"
