"""The score over the values of two choices at once."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis import compare, theme, together
from analysis.effects import effects
from analysis.measures import labels
from analysis.together import Surface

COLUMNS = 3
PANEL_HEIGHT = 280
SHADES = [[0, "rgba(140,146,155,0.15)"], [0.5, "rgba(86,180,233,0.55)"], [1, "rgba(0,114,178,0.95)"]]
"""See through, so that they stand on a light page and on a dark one."""


def contour(trials: pd.DataFrame, one: str, other: str) -> go.Figure:
    """Of any two choices; empty where too few trials have both. `trials` as `analysis.effects.comparable` has them."""
    return contours(trials, together.surfaces(trials, [(one, other)]))


def contours(trials: pd.DataFrame, found: list[Surface] | None = None) -> go.Figure:
    """A panel a pair, by default every two of the surest choices: the score that a linear model gives where all other
    choices are at their average, and the trials themselves. One scale for all."""
    found = together.surfaces(trials, together.pairs(effects(trials))) if found is None else found
    if not found:
        return theme.figure(PANEL_HEIGHT)
    columns = min(COLUMNS, len(found))
    rows = math.ceil(len(found) / columns)
    figure = make_subplots(rows, columns, horizontal_spacing=0.3 / columns, vertical_spacing=0.26 / rows)
    score = labels(trials)(compare.objective(trials).metric)
    scale = _scale(trials, found, score)
    for place, surface in enumerate(found):
        at = {"row": place // columns + 1, "col": place % columns + 1}
        figure.add_trace(_surface(surface, score, scale | {"showscale": place == 0}), **at)
        figure.add_trace(_trials(surface, score), **at)
        (one, other), (x, y), (left, up) = surface.choices, surface.scales, surface.values
        figure.update_xaxes(title={"text": one, "standoff": 4}, **theme.axis(x, left), **at)
        figure.update_yaxes(title={"text": other, "standoff": 4}, **theme.axis(y, up), **at)
    return figure.update_layout(template=theme.TEMPLATE, height=rows * PANEL_HEIGHT + 40, showlegend=False)


def _scale(trials: pd.DataFrame, found: list[Surface], score: str) -> dict[str, Any]:
    """Over all the surfaces, but not beyond what a trial reached: where none is, the model may go anywhere."""
    values = trials[compare.objective(trials).metric].dropna().astype(float)
    low, high = (bound(float(bound(surface.scores.ravel())) for surface in found) for bound in (min, max))
    bar = {"title": {"text": score, "side": "right"}, "thickness": 12, "outlinewidth": 0}
    return {"zmin": max(low, values.min()), "zmax": min(high, values.max()), "colorscale": SHADES, "colorbar": bar}


def _surface(surface: Surface, score: str, scale: dict[str, Any]) -> go.Contour | go.Heatmap:
    (one, other), (x, y) = surface.choices, (_drawn(*axis) for axis in zip(surface.values, surface.scales, strict=True))
    hover = f"{one} %{{x}}<br>{other} %{{y}}<br>{score} %{{z:.4f}}<extra></extra>"
    common = {"x": x, "y": y, "z": surface.scores, "hovertemplate": hover, **scale}
    if "names" in surface.scales:  # between two names there is nothing
        return go.Heatmap(**common, xgap=2, ygap=2)
    return go.Contour(**common, line={"width": 0.5}, ncontours=12)


def _trials(surface: Surface, score: str) -> go.Scatter:
    """Where they lie; of very many some."""
    having = compare.telling(surface.trials)
    x, y = (_drawn(having[name].tolist(), scale) for name, scale in zip(surface.choices, surface.scales, strict=True))
    return go.Scatter(
        x=x,
        y=y,
        mode="markers",
        marker={"color": theme.VERMILION, "size": 4, "opacity": 0.7},
        ids=having["trial"].astype(str),
        customdata=having[["trial", compare.objective(having).metric]],
        hovertemplate=f"<b>trial %{{customdata[0]}}</b><br>{score} %{{customdata[1]:.4f}}<extra></extra>",
    )


def _drawn(values: Sequence[Any], scale: str) -> list[Any]:
    return [compare.text(value) for value in values] if scale == "names" else list(values)
