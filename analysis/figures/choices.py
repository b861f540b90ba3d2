"""Which choices lead where: every configuration as a line, and how much each choice matters."""

from collections.abc import Callable

import pandas as pd
import plotly.graph_objects as go

from analysis import compare, fanova, theme
from analysis import importance as importances
from analysis.axes import Axis, axes
from analysis.measures import label, labels
from analysis.theme import Look

LONG = 18
"""Characters of a choice above which it would run into the axis beside it."""


def parallel_coordinates(trials: pd.DataFrame) -> go.Figure:
    """Every scored trial as a line through its choices to its score. Learning rates are on logarithmic axes; trials
    without a choice, as a frozen encoder has no learning rate, pass below its axis."""
    metric = compare.objective(trials).metric
    scored = trials[trials[metric].notna()]
    figure = theme.figure(460)
    if scored.empty:
        return figure
    found, looks, names = axes(scored), theme.looks(trials), compare.varied(trials)
    shown: set[str] = set()
    places = pd.DataFrame({place: axis.places for place, axis in enumerate(found)}).set_axis(scored["trial"])
    by_trial = theme.by_number(scored)
    for number in sorted(compare.telling(scored)["trial"], key=lambda trial: looks[trial].rank):
        row = by_trial[number]
        figure.add_scatter(**_polyline(places.loc[number].tolist(), looks[number]), **theme.line(looks[number], shown))
        score = f"{labels(trials)(metric)} {row[metric]:.4f}"
        figure.data[-1].update(hovertemplate=theme.hover(row, score, names), meta=int(number))
    figure.update_layout(margin={"l": _room(found[0]), "r": 64, "t": 64, "b": 20}, legend={"y": -0.02})
    return _draw_axes(figure, found, labels(trials))


def _room(axis: Axis) -> int:
    """Pixels left of the first axis that its ticks need."""
    longest = max(len(line) for _, text in axis.ticks for line in _broken(text).split("<br>"))
    return max(64, 16 + 7 * longest)


def _polyline(places: list[float], look: Look) -> dict[str, object]:
    symbols = ["circle"] * (len(places) - 1) + [look.symbol]
    line = {"width": 2 if look.symbol == "x-thin" else 0, "color": look.colour}
    marker = {"symbol": symbols, "size": [5] * (len(places) - 1) + [look.size], "color": look.colour, "line": line}
    return {"x": list(range(len(places))), "y": places, "mode": "lines+markers", "marker": marker}


def _draw_axes(figure: go.Figure, found: list[Axis], said: Callable[[str], str]) -> go.Figure:
    hidden = {"visible": False, "fixedrange": True}
    figure.update_xaxes(range=[-0.1, len(found) - 0.9], **hidden).update_yaxes(range=[-0.2, 1.04], **hidden)
    rule = {"type": "line", "y0": 0, "y1": 1, "line": {"color": theme.GREY, "width": 1}, "layer": "below"}
    figure.update_layout(shapes=[{**rule, "x0": place, "x1": place} for place in range(len(found))])
    titles = [
        {"x": place, "y": 1.04, "text": f"<b>{said(axis.name)}</b>", "yanchor": "bottom", "textangle": -12}
        for place, axis in enumerate(found)
    ]
    last, font = len(found) - 1, {"size": 11}
    ticks = [
        {"x": place, "y": y, "text": _broken(text), "font": font, "name": "tick", **_beside(place == last)}
        for place, axis in enumerate(found)
        for y, text in axis.ticks
    ]
    return figure.update_layout(annotations=[{"showarrow": False, **note} for note in (*titles, *ticks)])


def _broken(text: str) -> str:
    """A long name in lines: `smp:Unet:resnet34` has a part a line, other names two."""
    if len(text) <= LONG:
        return text
    if ":" in text:
        return text.replace(":", ":<br>")
    head, mark, tail = text.partition("_")
    return f"{head}{mark}<br>{tail}" if tail else text


def _beside(last: bool) -> dict[str, object]:
    """Left of the axis, but right of the last one, where the symbols are."""
    return {"xanchor": "left", "xshift": 12} if last else {"xanchor": "right", "xshift": -7}


def importance(trials: pd.DataFrame) -> go.Figure:
    """How much each hyperparameter decides whether a trial is among the best, and a warning where trials are few."""
    found = importances.importance(trials)
    figure = _shares(found["parameter"], found["importance"], found["trials"], "importance")
    return _warn(figure, importances.warning(trials))


def variance_shares(trials: pd.DataFrame, found: pd.DataFrame | None = None) -> go.Figure:
    """How much of the score's variance each choice explains by itself, and a warning where trials are few. `trials` as
    `analysis.effects.comparable` gives them, `found` their `analysis.fanova.variance_shares`, where at hand."""
    found = fanova.variance_shares(trials) if found is None else found
    figure = _shares(found["choice"], found["share"], found["trials"], "share of the variance")
    return _warn(figure, fanova.warning(trials))


def _shares(names: pd.Series, shares: pd.Series, trials: pd.Series, title: str) -> go.Figure:
    """A bar a choice, the largest on top."""
    figure = theme.figure(max(180, 110 + 34 * len(shares)), title)
    figure.add_bar(
        x=shares,
        y=[label(name) for name in names],
        orientation="h",
        marker={"color": theme.BLUE},
        text=[f"{value:.0%}" for value in shares],
        textposition="outside",
        cliponaxis=False,
        customdata=trials,
        hovertemplate=f"<b>%{{y}}</b><br>{title} %{{x:.3f}}<br>chosen in %{{customdata}} trials<extra></extra>",
    )
    figure.update_xaxes(tickformat=".0%", rangemode="tozero").update_yaxes(showgrid=False, autorange="reversed")
    return figure.update_layout(bargap=0.35, margin={"r": 48})


def _warn(figure: go.Figure, sentence: str) -> go.Figure:
    if not sentence:
        return figure
    lines = sentence.replace(": ", ":<br>")
    title = {"text": f"⚠ {lines}", "x": 0, "xref": "container", "y": 1, "yanchor": "top", "pad": {"t": 18, "l": 8}}
    return figure.update_layout(title=title | {"font": {"color": theme.VERMILION, "size": 13}}, margin={"t": 60})
