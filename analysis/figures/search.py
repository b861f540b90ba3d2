"""Figures of how the search went: scores by trial, by training time, and by epoch."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from analysis import ranking
from analysis.figures import theme
from analysis.figures.theme import Look
from analysis.hyperparameters import comparison
from analysis.scores.labels import labels

COLOURS = (theme.VERMILION, theme.BLUE, *(colour for colour, _ in theme.BASELINES))
"""The colours of the values, the leading one first; they repeat if there are more values."""


def history(trials: pd.DataFrame) -> go.Figure:
    """Draw the scores of the trials in the order they ended, and the best score so far."""
    return _history(trials, "ended", "trials ended")


def history_by_time(trials: pd.DataFrame) -> go.Figure:
    """Draw the same as `history` against the minutes of training that all trials together had spent by then."""
    return _history(trials, "minutes", "training of all trials so far (min)")


def _history(trials: pd.DataFrame, x: str, x_title: str) -> go.Figure:
    steps = ranking.history(trials)
    steps["minutes"] = steps["seconds"] / 60
    figure = theme.figure(340, x_title, labels(trials)(ranking.objective(trials).metric))
    if x == "ended":
        figure.update_xaxes(dtick=_whole_step(len(steps)))
    line = {"shape": "hv", "color": theme.VERMILION, "width": 2}
    figure.add_scatter(x=steps[x], y=steps["best"], mode="lines", line=line, name="best so far", hoverinfo="skip")
    for look, rows in _groups(trials, steps):
        figure.add_scatter(
            x=rows[x], y=rows["score"], ids=rows["trial"].astype(str), **_markers(look), **_hovers(trials, rows)
        )
    return figure


def _groups(trials: pd.DataFrame, rows: pd.DataFrame) -> Iterator[tuple[Look, pd.DataFrame]]:
    """Yield each look with the rows drawn in it, the most important look last."""
    looks = theme.looks(trials)
    found = sorted({looks[trial] for trial in rows["trial"]}, key=lambda look: (look.rank, look.group))
    yield from ((look, rows[rows["trial"].map(looks) == look]) for look in found)


def _markers(look: Look) -> dict[str, object]:
    line = {"width": 2, "color": look.colour} if look.symbol == "x-thin" else {}
    marker = {"symbol": look.symbol, "color": look.colour, "size": look.size, "opacity": look.opacity, "line": line}
    return {"mode": "markers", "marker": marker, "name": look.group}


def _hovers(trials: pd.DataFrame, rows: pd.DataFrame) -> dict[str, object]:
    by_trial, names = theme.by_number(trials), ranking.tooltip_columns(trials)
    metric = labels(trials)(ranking.objective(trials).metric)
    return {
        "hovertemplate": [
            theme.hover(by_trial[trial], f"{metric} {score:.4f}", names)
            for trial, score in zip(rows["trial"], rows["score"], strict=True)
        ]
    }


def learning_curves(epochs: pd.DataFrame) -> go.Figure:
    """Draw the learning curve of each trial: the objective by epoch.

    The best trial is in front, baselines are dashed, and early-stopped trials are grey. A vertical line marks each
    rung. If there are very many trials, only a selection is drawn.
    """
    metric = ranking.objective(epochs).metric
    figure = theme.figure(420, "epoch", labels(epochs)(metric))
    if epochs.empty:
        return figure
    trials = _last_rows(epochs)
    looks, by_trial = theme.looks(trials), theme.by_number(trials)
    shown: set[str] = set()
    drawn = ranking.downsample(trials)["trial"]
    curves = dict(iter(epochs[epochs["trial"].isin(drawn)].groupby("trial")))
    for trial in sorted(drawn, key=lambda number: looks[number].rank):
        rows, look = curves[trial], looks[trial]
        figure.add_scatter(x=rows["epoch"], y=rows[metric], **theme.line(look, shown), **_ends(look, len(rows)))
        hover = _curve_hover(by_trial[trial], labels(epochs)(metric))
        figure.data[-1].update(hovertemplate=hover, meta=int(trial))
    for rung in (rungs := ranking.rungs(epochs)):
        line = {"color": theme.GREY, "width": 1, "dash": "dot"}
        figure.add_vline(rung, line=line, layer="below")
    if rungs:
        note = {"text": "rungs", "showarrow": False, "font": {"size": 11}, "xanchor": "left", "xshift": 3}
        figure.add_annotation(x=rungs[0], y=1, yref="paper", yanchor="top", **note)
    return figure.update_xaxes(dtick=_whole_step(epochs["epoch"].max()))


def _whole_step(count: int) -> int:
    """Return a whole step between the ticks of a count, for about ten ticks."""
    return next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, count) if count <= 12 * step)


def _last_rows(epochs: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each trial, that of its best epoch."""
    aim = ranking.objective(epochs)
    ordered = epochs.dropna(subset=[aim.metric]).sort_values(aim.metric, ascending=aim.ascending, kind="stable")
    trials = ordered.drop_duplicates("trial").sort_values("trial").set_index("trial", drop=False)
    trials.index.name = None
    return trials


def _ends(look: Look, epochs: int) -> dict[str, object]:
    """Return the markers of a curve: the trial's symbol on the last epoch, small dots to point at on the others."""
    sizes = [3.0] * (epochs - 1) + [look.size]
    symbols = ["circle"] * (epochs - 1) + [look.symbol]
    line = {"width": 2 if look.symbol == "x-thin" else 0, "color": look.colour}
    return {
        "mode": "lines+markers",
        "marker": {"size": sizes, "symbol": symbols, "color": look.colour, "line": line, "opacity": 1},
    }


def _curve_hover(row: dict[Any, Any], score: str) -> str:
    names: list[str] = [name for name in ("model", "loss", "encoder_lr", "decoder_lr") if name in row]
    return theme.hover(row, f"epoch %{{x}} · {score} %{{y:.4f}}", names)


def best_of(trials: pd.DataFrame) -> go.Figure:
    """Draw the expected best score of each value as a line, with a band that holds 95 % of the bests."""
    metric = labels(trials)(ranking.objective(trials).metric)
    figure = theme.figure(400, f"trials of each {comparison.choice(trials)}", f"best {metric}, expected")
    curves = comparison.curves(trials)
    values = [one.value for one in comparison.standings(trials)]
    for value, colour in zip(values, _colours(len(values)), strict=True):
        _draw(figure, curves[curves["value"] == value], escape(str(value)), colour)
    figure.update_layout(showlegend=False, annotations=_names(values, ranking.objective(trials).ascending))
    return figure


def _draw(figure: go.Figure, curve: pd.DataFrame, name: str, colour: str) -> None:
    edge = {"x": curve["trials"], "mode": "lines", "line": {"width": 0, "color": colour}, "hoverinfo": "skip"}
    figure.add_scatter(y=curve["low"], **edge)
    figure.add_scatter(y=curve["high"], fill="tonexty", fillcolor=_faint(colour), **edge)
    hover = f"<b>{name}</b><br>of %{{x}} trials: %{{y:.4f}}<extra></extra>"
    line = {"color": colour, "width": 2.5}
    figure.add_scatter(x=curve["trials"], y=curve["expected"], name=name, line=line, hovertemplate=hover)


def _names(values: Sequence[object], falling: bool) -> list[dict[str, object]]:
    """Return the names of the values, best first, in the corner that the lines leave free."""
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
