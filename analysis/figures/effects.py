"""Figures of what each choice does to the score."""

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis import ranking
from analysis.figures import theme
from analysis.hyperparameters.effects import Effect, effects
from analysis.hyperparameters.importance import Dimension, dimensions
from analysis.hyperparameters.linear import axis_scale
from analysis.scores.labels import labels

COLUMNS = 3
PANELS = 9
"""The most panels in a figure; more would be too small to read."""
PANEL_HEIGHT = 210


def choice_effects(trials: pd.DataFrame, found: list[Effect] | None = None) -> go.Figure:
    """Draw the score at each value of each choice, with 95 % intervals, over the trials themselves.

    All other choices are at their average. An effect that chance alone could explain is grey. At most PANELS choices
    are shown, smallest p-values first.

    `trials` as `analysis.hyperparameters.effects.comparable` returns them. `found`: their effects, if already computed.
    """
    found = (effects(trials) if found is None else found)[:PANELS]
    score = labels(trials)(ranking.objective(trials).metric)
    grey = {"color": theme.GREY, "size": 4, "opacity": 0.45}
    known = dimensions(trials)
    panels = [Panel(_title(one), one.choice, known[one.choice]) for one in found]
    drawn = [(_names if one.scale == "names" else _curve)(one, score) for one in found]
    return _panels(trials, panels, grey, drawn)


def slices(trials: pd.DataFrame) -> go.Figure:
    """Draw the score of each searched trial against each of its choices.

    The other choices of the trials differ too. The later a trial began, the darker its point.
    """
    searched = trials[(trials["source"] == ranking.SEARCH) & trials[ranking.objective(trials).metric].notna()]
    searched.attrs = trials.attrs
    shades = {"color": searched["trial"].rank(), "colorscale": [[0, "#9CCBE8"], [1, theme.BLUE]], "size": 6}
    panels = [Panel(name, name, of) for name, of in dimensions(searched).items()][:PANELS]
    return _panels(searched, panels, shades, [[] for _ in panels])


@dataclass(frozen=True)
class Panel:
    title: str
    choice: str
    of: Dimension

    @property
    def axis(self) -> dict[str, Any]:
        bounds = None if self.of.choices else (self.of.low, self.of.high)
        return theme.axis(axis_scale(self.of), self.of.choices, bounds)


def _panels(
    trials: pd.DataFrame, panels: list[Panel], marker: dict[str, Any], over: list[list[go.Scatter]]
) -> go.Figure:
    """Draw the trials by each choice, one panel each, with that panel's traces of `over` on top."""
    if not panels:
        return theme.figure(PANEL_HEIGHT)
    rows = math.ceil(len(panels) / COLUMNS)
    titles = [panel.title for panel in panels]
    figure = make_subplots(rows, COLUMNS, shared_yaxes="all", subplot_titles=titles, vertical_spacing=0.28 / rows)
    for place, (panel, traces) in enumerate(zip(panels, over, strict=True)):
        row, column = place // COLUMNS + 1, place % COLUMNS + 1
        for trace in [_trials(trials, panel, marker), *traces]:
            figure.add_trace(trace, row, column)
        figure.update_xaxes(**panel.axis, row=row, col=column)
    figure.update_layout(template=theme.TEMPLATE, height=rows * PANEL_HEIGHT + 40, showlegend=False)
    figure.update_layout(margin={"t": 36, "b": 40})
    figure.update_annotations(font={"size": 13})
    score = labels(trials)(ranking.objective(trials).metric)
    return figure.update_yaxes(title={"text": score, "standoff": 8}, col=1)


def _trials(trials: pd.DataFrame, panel: Panel, marker: dict[str, Any]) -> go.Scatter:
    """Return the trials' own scores by a choice, whatever their other choices."""
    has = trials[panel.choice].notna()
    having, metric = trials[has], ranking.objective(trials).metric
    if not isinstance(marker["color"], str):
        marker = marker | {"color": marker["color"][has]}
    return go.Scatter(
        x=[ranking.text(value) if panel.of.choices else value for value in having[panel.choice]],
        y=having[metric].astype(float),
        mode="markers",
        marker=marker,
        **theme.pointed(having["trial"], labels(trials)(metric)),
    )


def _title(one: Effect) -> str:
    return f"<b>{one.choice}</b>" if one.matters else one.choice


def _colour(one: Effect) -> str:
    return theme.BLUE if one.matters else theme.GREY


def _names(one: Effect, score: str) -> list[go.Scatter]:
    """Return one point for each value, with its interval."""
    points = one.points
    reach = {"array": [p.high - p.score for p in points], "arrayminus": [p.score - p.low for p in points]}
    hovers = [
        f"<b>{one.choice} {ranking.text(p.value)}</b><br>{score} {p.score:.4f} ({p.low:.4f} to {p.high:.4f})"
        f"<br>{p.trials} trials<extra></extra>"
        for p in points
    ]
    return [
        go.Scatter(
            x=[ranking.text(p.value) for p in points],
            y=[p.score for p in points],
            mode="markers",
            marker={"color": _colour(one), "size": 9},
            error_y={"type": "data", "symmetric": False, "color": _colour(one), "thickness": 2, "width": 5, **reach},
            hovertemplate=hovers,
        )
    ]


def _curve(one: Effect, score: str) -> list[go.Scatter]:
    """Return a line, and its interval as a band."""
    x = [float(str(point.value)) for point in one.points]
    edges = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
    band = "rgba(0,114,178,0.18)" if one.matters else "rgba(140,146,155,0.18)"
    return [
        go.Scatter(x=x, y=[point.high for point in one.points], **edges),
        go.Scatter(x=x, y=[point.low for point in one.points], fill="tonexty", fillcolor=band, **edges),
        go.Scatter(
            x=x,
            y=[point.score for point in one.points],
            mode="lines",
            line={"color": _colour(one), "width": 2.5},
            hovertemplate=f"<b>{one.choice} %{{x:.2g}}</b><br>{score} %{{y:.4f}}<extra></extra>",
        ),
    ]


def loss_by_freezing(trials: pd.DataFrame) -> go.Figure:
    """Draw the scores of finished trials by loss, separately for frozen and fine-tuned encoders.

    Each trial is a point; the boxes show the quartiles.
    """
    metric = ranking.objective(trials).metric
    finished = ranking.originals(trials)
    finished = finished[(finished["state"] == "COMPLETE") & finished[metric].notna()]
    figure = theme.figure(360, "", labels(trials)(metric))
    losses = sorted(finished["loss"].unique())
    for frozen, name, colour in ((False, "fine-tuned", theme.VERMILION), (True, "frozen", theme.BLUE)):
        rows = finished[finished["encoder_freeze"].astype(bool) == frozen]
        figure.add_box(
            x=rows["loss"],
            y=rows[metric].astype(float),
            name=name,
            marker={"color": colour, "size": 6},
            boxpoints="all",
            jitter=0.4,
            pointpos=0,
            fillcolor=theme.CLEAR,
            **theme.pointed(rows["trial"], labels(trials)(metric)),
        )
    figure.update_layout(boxmode="group", showlegend=True)
    return figure.update_xaxes(categoryorder="array", categoryarray=losses)
