"""Figures of configurations as lines, and of how much each choice matters."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

from analysis import ranking
from analysis.figures import theme
from analysis.figures.theme import Look
from analysis.hyperparameters import fanova
from analysis.hyperparameters import importance as importances
from analysis.scores.labels import label, labels

ABSENT = -0.14
"""The position, below the axis, of trials without the choice: a frozen encoder has no learning rate."""
SPREAD = 0.05
"""The height over which trials with the same choice are spread, so that their lines can be distinguished."""

LONG = 18
"""The most characters of a tick in one line; a longer one would run into the next axis."""


@dataclass(frozen=True)
class Axis:
    name: str
    places: pd.Series
    """Positions from 0 to 1, or below the axis for trials without the choice; indexed like the trial table."""
    ticks: list[tuple[float, str]]


def axes(trials: pd.DataFrame) -> list[Axis]:
    """Return one axis for each choice that varies among the searched trials, and the objective's axis last.

    `trials` are those with a score; baselines are placed on the same axes.
    """
    metric = ranking.objective(trials).metric
    searched = trials[trials["source"] == ranking.SEARCH]
    names = ranking.varied(searched if len(searched) > 1 else trials)
    found = [_axis(trials[name], name) for name in names]
    return [*found, _linear(trials[metric].astype(float), metric)]


def _axis(values: pd.Series, name: str) -> Axis:
    numbers = pd.api.types.is_float_dtype(values) and values.nunique() > 2
    if not numbers:
        return _named(values, name)
    return _logarithmic(values, name) if is_logarithmic(values, name) else _linear(values, name)


def is_logarithmic(values: pd.Series, name: str) -> bool:
    """Whether the values need a logarithmic axis.

    They do if they are positive, and are learning rates or span more than a decade.
    """
    low, high = values.min(), values.max()
    return bool(low > 0 and (name.endswith("_lr") or high / low > 10))


def _named(values: pd.Series, name: str) -> Axis:
    """Return an axis with one tick for each choice, in sorted order and evenly spaced."""
    choices = sorted(values.dropna().unique().tolist())
    centre = {choice: (i + 0.5) / len(choices) for i, choice in enumerate(choices)}
    places = pd.Series([centre.get(value, ABSENT) for value in values], index=values.index, dtype=float)
    shifts = pd.Series([(i + 0.5) / len(values) - 0.5 for i in range(len(values))], index=values.index)
    return Axis(name, places + SPREAD * shifts, [(centre[choice], ranking.text(choice)) for choice in choices])


def _linear(values: pd.Series, name: str) -> Axis:
    low, high = float(values.min()), float(values.max())
    if low == high:
        return Axis(name, pd.Series(0.5, index=values.index), [(0.5, ranking.text(low))])
    ticks = [((value - low) / (high - low), f"{value:g}") for value in round_numbers(low, high)]
    return _placed(name, (values - low) / (high - low), ticks)


def round_numbers(low: float, high: float) -> list[float]:
    """Return four to ten multiples of 1, 2, or 5 times a power of ten, within the range."""
    magnitude = 10.0 ** math.floor(math.log10(high - low))
    step = next(size for size in (2 * magnitude, magnitude, magnitude / 2, magnitude / 5) if (high - low) / size >= 4)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _logarithmic(values: pd.Series, name: str) -> Axis:
    """Return a logarithmic axis whose ends are rounded outwards to half decades."""
    logs = values.map(math.log10, na_action="ignore").astype(float)
    low, high = math.floor(2 * logs.min()) / 2, math.ceil(2 * logs.max()) / 2
    high = high if high > low else low + 0.5
    decades = range(math.ceil(low), math.floor(high) + 1, math.ceil((high - low) / 8))
    ticks = [((decade - low) / (high - low), f"1e{decade}") for decade in decades]
    return _placed(name, (logs - low) / (high - low), ticks)


def _placed(name: str, places: pd.Series, ticks: list[tuple[float, str]]) -> Axis:
    absent = [(ABSENT, "none")] if places.isna().any() else []
    return Axis(name, places.fillna(ABSENT), absent + ticks)


def parallel_coordinates(trials: pd.DataFrame) -> go.Figure:
    """Draw the scored trials as lines through their choices to their scores.

    Learning rates are on logarithmic axes. A trial without a choice passes below its axis: a frozen encoder has no
    learning rate. If there are very many trials, only a selection is drawn.
    """
    metric = ranking.objective(trials).metric
    scored = trials[trials[metric].notna()]
    figure = theme.figure(460)
    if scored.empty:
        return figure
    found, looks, names = axes(scored), theme.looks(trials), ranking.varied(trials)
    shown: set[str] = set()
    places = pd.DataFrame({place: axis.places for place, axis in enumerate(found)}).set_axis(scored["trial"])
    by_trial = theme.by_number(scored)
    for number in sorted(ranking.downsample(scored)["trial"], key=lambda trial: looks[trial].rank):
        row = by_trial[number]
        figure.add_scatter(**_polyline(places.loc[number].tolist(), looks[number]), **theme.line(looks[number], shown))
        score = f"{labels(trials)(metric)} {row[metric]:.4f}"
        figure.data[-1].update(hovertemplate=theme.hover(row, score, names), meta=int(number))
    figure.update_layout(margin={"l": _room(found[0]), "r": 64, "t": 64, "b": 20}, legend={"y": -0.02})
    return _draw_axes(figure, found, labels(trials))


def _room(axis: Axis) -> int:
    """Return the pixels that the ticks left of the first axis need."""
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
    """Return a long name in lines: one for each part of `smp:Unet:resnet34`, two for other names."""
    if len(text) <= LONG:
        return text
    if ":" in text:
        return text.replace(":", ":<br>")
    head, mark, tail = text.partition("_")
    return f"{head}{mark}<br>{tail}" if tail else text


def _beside(last: bool) -> dict[str, object]:
    """Return the position of a tick's text: left of its axis, or right of the last axis, beside the symbols."""
    return {"xanchor": "left", "xshift": 12} if last else {"xanchor": "right", "xshift": -7}


def importance(trials: pd.DataFrame, found: pd.DataFrame | None = None) -> go.Figure:
    """Draw how much each hyperparameter decides whether a trial is among the best.

    The figure has a warning if there are few trials. `found`: their `analysis.hyperparameters.importance.importance`,
    if already computed.
    """
    found = importances.importance(trials) if found is None else found
    figure = _shares(found["parameter"], found["importance"], found["trials"], "importance")
    return _warn(figure, importances.warning(trials))


def variance_shares(trials: pd.DataFrame, found: pd.DataFrame | None = None) -> go.Figure:
    """Draw how much of the score's variance each choice explains by itself.

    The figure has a warning if there are few trials. `trials` as `analysis.hyperparameters.effects.comparable` returns
    them. `found`: their `analysis.hyperparameters.fanova.variance_shares`, if already computed.
    """
    found = fanova.variance_shares(trials) if found is None else found
    figure = _shares(found["choice"], found["share"], found["trials"], "share of the variance")
    return _warn(figure, fanova.warning(trials))


def _shares(names: pd.Series, shares: pd.Series, trials: pd.Series, title: str) -> go.Figure:
    """Draw one bar for each choice, the largest on top."""
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
