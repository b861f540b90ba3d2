"""Figures of the score over the values of two choices at once."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis import ranking
from analysis.figures import theme
from analysis.hyperparameters.effects import Surface, effects, pairs, surfaces
from analysis.scores.labels import labels

COLUMNS = 3
PANEL_HEIGHT = 280
SHADES = [[0, "rgba(140,146,155,0.15)"], [0.5, "rgba(86,180,233,0.55)"], [1, "rgba(0,114,178,0.95)"]]
"""The colour scale: translucent, so that it works on light and dark pages."""


def contour(trials: pd.DataFrame, one: str, other: str) -> go.Figure:
    """Draw the score over any two choices; the figure is empty if too few trials have both.

    `trials` as `analysis.hyperparameters.effects.comparable` returns them.
    """
    return contours(trials, surfaces(trials, [(one, other)]))


def contours(trials: pd.DataFrame, found: list[Surface] | None = None) -> go.Figure:
    """Draw the score over pairs of choices, one panel each, on one colour scale, with the trials.

    By default these are all pairs of the choices with the smallest p-values. The score is that of a linear model with
    all other choices at their average.
    """
    found = surfaces(trials, pairs(effects(trials))) if found is None else found
    if not found:
        return theme.figure(PANEL_HEIGHT)
    columns = min(COLUMNS, len(found))
    rows = math.ceil(len(found) / columns)
    figure = make_subplots(rows, columns, horizontal_spacing=0.3 / columns, vertical_spacing=0.26 / rows)
    score = labels(trials)(ranking.objective(trials).metric)
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
    """Return one colour scale for all surfaces, within the scores that trials reached.

    Far from the trials the model may give any score.
    """
    values = trials[ranking.objective(trials).metric].dropna().astype(float)
    low, high = (bound(float(bound(surface.scores.ravel())) for surface in found) for bound in (min, max))
    bar = {"title": {"text": score, "side": "right"}, "thickness": 12, "outlinewidth": 0}
    return {"zmin": max(low, values.min()), "zmax": min(high, values.max()), "colorscale": SHADES, "colorbar": bar}


def _surface(surface: Surface, score: str, scale: dict[str, Any]) -> go.Contour | go.Heatmap:
    (one, other), (x, y) = surface.choices, (_drawn(*axis) for axis in zip(surface.values, surface.scales, strict=True))
    hover = f"{one} %{{x}}<br>{other} %{{y}}<br>{score} %{{z:.4f}}<extra></extra>"
    common = {"x": x, "y": y, "z": surface.scores, "hovertemplate": hover, **scale}
    if "names" in surface.scales:  # there are no values between two names
        return go.Heatmap(**common, xgap=2, ygap=2)
    return go.Contour(**common, line={"width": 0.5}, ncontours=12)


def _trials(surface: Surface, score: str) -> go.Scatter:
    """Return the trials as points; if there are very many, only a selection."""
    having = ranking.downsample(surface.trials)
    x, y = (_drawn(having[name].tolist(), scale) for name, scale in zip(surface.choices, surface.scales, strict=True))
    return go.Scatter(
        x=x,
        y=y,
        mode="markers",
        marker={"color": theme.VERMILION, "size": 4, "opacity": 0.7},
        ids=having["trial"].astype(str),
        customdata=having[["trial", ranking.objective(having).metric]],
        hovertemplate=f"<b>trial %{{customdata[0]}}</b><br>{score} %{{customdata[1]:.4f}}<extra></extra>",
    )


def _drawn(values: Sequence[Any], scale: str) -> list[Any]:
    return [ranking.text(value) for value in values] if scale == "names" else list(values)
