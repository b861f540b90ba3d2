"""What each choice does to the score, choice by choice."""

import math

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis import compare, theme
from analysis.effects import Effect, effects
from analysis.measures import labels

COLUMNS = 3
PANELS = 9
"""The surest choices; more would be too small to read."""
PANEL_HEIGHT = 210


def choice_effects(trials: pd.DataFrame, found: list[Effect] | None = None) -> go.Figure:
    """The score at each value of each choice, all else at its average, with 95 % intervals, over the trials themselves;
    grey where chance alone could have made it. `trials` as `analysis.effects.comparable` gives them, `found` their
    effects, where at hand."""
    found = (effects(trials) if found is None else found)[:PANELS]
    if not found:
        return theme.figure(PANEL_HEIGHT)
    rows = math.ceil(len(found) / COLUMNS)
    figure = make_subplots(
        rows, COLUMNS, shared_yaxes="all", subplot_titles=[_title(one) for one in found], vertical_spacing=0.28 / rows
    )
    score = labels(trials)(compare.objective(trials).metric)
    for place, one in enumerate(found):
        row, column = place // COLUMNS + 1, place % COLUMNS + 1
        drawn = _names if one.scale == "names" else _curve
        for trace in [_trials(trials, one), *drawn(one, score)]:
            figure.add_trace(trace, row, column)
        if one.scale == "log":
            figure.update_xaxes(type="log", dtick=1, exponentformat="e", row=row, col=column)
        elif one.scale == "names":
            values = [compare.text(point.value) for point in one.points]
            figure.update_xaxes(categoryorder="array", categoryarray=values, type="category", row=row, col=column)
    figure.update_layout(template=theme.TEMPLATE, height=rows * PANEL_HEIGHT + 40, showlegend=False)
    figure.update_layout(margin={"t": 36, "b": 40})
    figure.update_annotations(font={"size": 13})
    return figure.update_yaxes(title={"text": score, "standoff": 8}, col=1)


def _trials(trials: pd.DataFrame, one: Effect) -> go.Scatter:
    """As they are, whatever else they chose."""
    having = trials[trials[one.choice].notna()]
    metric = compare.objective(trials).metric
    return go.Scatter(
        x=[compare.text(value) if one.scale == "names" else value for value in having[one.choice]],
        y=having[metric].astype(float),
        mode="markers",
        marker={"color": theme.GREY, "size": 4, "opacity": 0.45},
        **theme.pointed(having["trial"], labels(trials)(metric)),
    )


def _title(one: Effect) -> str:
    return f"<b>{one.choice}</b>" if one.matters else one.choice


def _colour(one: Effect) -> str:
    return theme.BLUE if one.matters else theme.GREY


def _names(one: Effect, score: str) -> list[go.Scatter]:
    """A point for each value, with its interval."""
    points = one.points
    reach = {"array": [p.high - p.score for p in points], "arrayminus": [p.score - p.low for p in points]}
    hovers = [
        f"<b>{one.choice} {compare.text(p.value)}</b><br>{score} {p.score:.4f} ({p.low:.4f} to {p.high:.4f})"
        f"<br>{p.trials} trials<extra></extra>"
        for p in points
    ]
    return [
        go.Scatter(
            x=[compare.text(p.value) for p in points],
            y=[p.score for p in points],
            mode="markers",
            marker={"color": _colour(one), "size": 9},
            error_y={"type": "data", "symmetric": False, "color": _colour(one), "thickness": 2, "width": 5, **reach},
            hovertemplate=hovers,
        )
    ]


def _curve(one: Effect, score: str) -> list[go.Scatter]:
    """A line, and its interval as a band."""
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
    """The scores of finished trials by loss, apart for frozen and fine-tuned encoders: every trial a point, a box for
    its quarters."""
    metric = compare.objective(trials).metric
    finished = compare.originals(trials)
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
