"""What the best of so many trials may be expected to be, value by value of the choice that a study compares."""

from collections.abc import Sequence
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
    figure = theme.figure(400, f"trials of each {comparison.choice(trials)}", f"best {metric}, expected")
    curves = comparison.curves(trials)
    values = [one.value for one in comparison.standings(trials)]
    for value, colour in zip(values, _colours(len(values)), strict=True):
        _draw(figure, curves[curves["value"] == value], escape(str(value)), colour)
    figure.update_layout(showlegend=False, annotations=_names(values, compare.objective(trials).ascending))
    return figure


def _draw(figure: go.Figure, curve: pd.DataFrame, name: str, colour: str) -> None:
    edge = {"x": curve["trials"], "mode": "lines", "line": {"width": 0, "color": colour}, "hoverinfo": "skip"}
    figure.add_scatter(y=curve["low"], **edge)
    figure.add_scatter(y=curve["high"], fill="tonexty", fillcolor=_faint(colour), **edge)
    hover = f"<b>{name}</b><br>of %{{x}} trials: %{{y:.4f}}<extra></extra>"
    line = {"color": colour, "width": 2.5}
    figure.add_scatter(x=curve["trials"], y=curve["expected"], name=name, line=line, hovertemplate=hover)


def _names(values: Sequence[object], falling: bool) -> list[dict[str, object]]:
    """The best first, in the corner that the lines leave free."""
    count = len(values)
    heights = [0.98 - 0.07 * place if falling else 0.02 + 0.07 * (count - 1 - place) for place in range(count)]
    corner = {"xref": "paper", "yref": "paper", "x": 1, "xanchor": "right", "showarrow": False}
    anchor = "top" if falling else "bottom"
    return [
        {**corner, "y": y, "yanchor": anchor, "text": f"<b>{escape(str(value))}</b>", "font": {"color": colour}}
        for value, y, colour in zip(values, heights, _colours(count), strict=True)
    ]


def _colours(count: int) -> list[str]:
    return [COLOURS[place % len(COLOURS)] for place in range(count)]


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.15)"
