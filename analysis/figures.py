"""Figures: a table of `analysis.load` in, a plotly Figure out. The numbers come from compare, importance and axes.

Published baselines have a symbol, a colour and their name in the legend, the same in every figure.
"""

from collections.abc import Iterator

import pandas as pd
import plotly.graph_objects as go

from analysis import compare, theme
from analysis import importance as importances
from analysis.axes import Axis, axes
from analysis.measures import label
from analysis.theme import Look


def history(trials: pd.DataFrame) -> go.Figure:
    """Score of every trial in the order they ended, and the best so far."""
    return _history(trials, "ended", "trials ended")


def history_by_time(trials: pd.DataFrame) -> go.Figure:
    """The same against the minutes of training spent by then, of all trials together."""
    return _history(trials, "minutes", "training of all trials so far (min)")


def _history(trials: pd.DataFrame, x: str, x_title: str) -> go.Figure:
    steps = compare.history(trials)
    steps["minutes"] = steps["seconds"] / 60
    figure = theme.figure(340, x_title, label(compare.objective(trials).metric))
    if x == "ended":
        figure.update_xaxes(dtick=_whole_step(len(steps)))
    line = {"shape": "hv", "color": theme.VERMILION, "width": 2}
    figure.add_scatter(x=steps[x], y=steps["best"], mode="lines", line=line, name="best so far", hoverinfo="skip")
    for look, rows in _groups(trials, steps):
        figure.add_scatter(x=rows[x], y=rows["score"], **_markers(look), **_hovers(trials, rows))
    return figure


def _groups(trials: pd.DataFrame, rows: pd.DataFrame) -> Iterator[tuple[Look, pd.DataFrame]]:
    """Rows that are drawn alike, what matters most last."""
    looks = theme.looks(trials)
    found = sorted({looks[trial] for trial in rows["trial"]}, key=lambda look: (look.rank, look.group))
    yield from ((look, rows[rows["trial"].map(looks) == look]) for look in found)


def _markers(look: Look) -> dict[str, object]:
    line = {"width": 2, "color": look.colour} if look.symbol == "x-thin" else {}
    marker = {"symbol": look.symbol, "color": look.colour, "size": look.size, "opacity": look.opacity, "line": line}
    return {"mode": "markers", "marker": marker, "name": look.group}


def _hovers(trials: pd.DataFrame, rows: pd.DataFrame) -> dict[str, object]:
    by_trial, names = trials.set_index("trial", drop=False), compare.varied(trials)
    metric = label(compare.objective(trials).metric)
    return {
        "hovertemplate": [
            theme.hover(by_trial.loc[trial], f"{metric} {score:.4f}", names)
            for trial, score in zip(rows["trial"], rows["score"], strict=True)
        ]
    }


def learning_curves(epochs: pd.DataFrame) -> go.Figure:
    """The objective by epoch, one line a trial: the best in front, baselines dashed, those stopped early in grey."""
    metric = compare.objective(epochs).metric
    figure = theme.figure(420, "epoch", label(metric))
    if epochs.empty:
        return figure
    trials = _last_rows(epochs)
    looks = theme.looks(trials)
    shown: set[str] = set()
    for trial in sorted(looks, key=lambda number: looks[number].rank):
        rows, look = epochs[epochs["trial"] == trial], looks[trial]
        figure.add_scatter(x=rows["epoch"], y=rows[metric], **_line(look, shown), **_ends(look, len(rows)))
        figure.data[-1].hovertemplate = _curve_hover(trials[trials["trial"] == trial].iloc[0], metric)
    return figure.update_xaxes(dtick=_whole_step(epochs["epoch"].max()))


def _whole_step(count: int) -> int:
    """Between ticks that count something: whole, and about ten of them."""
    return next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, count) if count <= 12 * step)


def _last_rows(epochs: pd.DataFrame) -> pd.DataFrame:
    """A row a trial, its score that of its best epoch."""
    aim = compare.objective(epochs)
    ordered = epochs.dropna(subset=[aim.metric]).sort_values(aim.metric, ascending=aim.ascending, kind="stable")
    trials = ordered.drop_duplicates("trial").sort_values("trial").set_index("trial", drop=False)
    trials.index.name = None
    return trials


def _line(look: Look, shown: set[str]) -> dict[str, object]:
    """`shown` gathers the legend's entries: trials drawn alike share one."""
    first = look.group not in shown
    shown.add(look.group)
    line = {"color": look.colour, "width": look.width, "dash": look.dash}
    return {"line": line, "opacity": look.opacity, "name": look.group, "legendgroup": look.group, "showlegend": first}


def _ends(look: Look, epochs: int) -> dict[str, object]:
    """The trial's symbol on its last epoch; the others are small dots to point at."""
    sizes = [3.0] * (epochs - 1) + [look.size]
    symbols = ["circle"] * (epochs - 1) + [look.symbol]
    line = {"width": 2 if look.symbol == "x-thin" else 0, "color": look.colour}
    return {
        "mode": "lines+markers",
        "marker": {"size": sizes, "symbol": symbols, "color": look.colour, "line": line, "opacity": 1},
    }


def _curve_hover(row: pd.Series, metric: str) -> str:
    names = [name for name in ("model", "loss", "encoder_lr", "decoder_lr") if name in row]
    return theme.hover(row, f"epoch %{{x}} · {label(metric)} %{{y:.4f}}", names)


def parallel_coordinates(trials: pd.DataFrame) -> go.Figure:
    """Every scored trial as a line through its choices to its score. Learning rates are on logarithmic axes; trials
    without a choice, as a frozen encoder has no learning rate, pass below its axis."""
    metric = compare.objective(trials).metric
    scored = trials[trials[metric].notna()]
    figure = theme.figure(460)
    figure.update_layout(margin={"l": 124, "r": 64, "t": 64, "b": 20}, legend={"y": -0.02})
    if scored.empty:
        return figure
    found, looks = axes(scored), theme.looks(trials)
    shown: set[str] = set()
    for number in sorted(scored["trial"], key=lambda trial: looks[trial].rank):
        row = scored[scored["trial"] == number].iloc[0]
        figure.add_scatter(**_polyline(found, row, looks[number]), **_line(looks[number], shown))
        figure.data[-1].hovertemplate = theme.hover(row, f"{label(metric)} {row[metric]:.4f}", compare.varied(trials))
    return _draw_axes(figure, found)


def _polyline(found: list[Axis], row: pd.Series, look: Look) -> dict[str, object]:
    places = [float(axis.places[axis.places.index == row.name].iloc[0]) for axis in found]
    symbols = ["circle"] * (len(found) - 1) + [look.symbol]
    line = {"width": 2 if look.symbol == "x-thin" else 0, "color": look.colour}
    marker = {"symbol": symbols, "size": [5] * (len(found) - 1) + [look.size], "color": look.colour, "line": line}
    return {"x": list(range(len(found))), "y": places, "mode": "lines+markers", "marker": marker}


def _draw_axes(figure: go.Figure, found: list[Axis]) -> go.Figure:
    hidden = {"visible": False, "fixedrange": True}
    figure.update_xaxes(range=[-0.1, len(found) - 0.9], **hidden).update_yaxes(range=[-0.2, 1.04], **hidden)
    rule = {"type": "line", "y0": 0, "y1": 1, "line": {"color": theme.GREY, "width": 1}, "layer": "below"}
    figure.update_layout(shapes=[{**rule, "x0": place, "x1": place} for place in range(len(found))])
    titles = [
        {"x": place, "y": 1.04, "text": f"<b>{label(axis.name)}</b>", "yanchor": "bottom", "textangle": -12}
        for place, axis in enumerate(found)
    ]
    ticks = [
        {"x": place, "y": y, "text": text, "font": {"size": 11}, "name": "tick", **_beside(place == len(found) - 1)}
        for place, axis in enumerate(found)
        for y, text in axis.ticks
    ]
    return figure.update_layout(annotations=[{"showarrow": False, **note} for note in (*titles, *ticks)])


def _beside(last: bool) -> dict[str, object]:
    """Left of the axis, but right of the last one, where the symbols are."""
    return {"xanchor": "left", "xshift": 12} if last else {"xanchor": "right", "xshift": -7}


def importance(trials: pd.DataFrame) -> go.Figure:
    """How much each hyperparameter decides whether a trial is among the best, and a warning where trials are few."""
    shares = importances.importance(trials).iloc[::-1]
    figure = theme.figure(max(180, 110 + 34 * len(shares)), "importance")
    figure.add_bar(
        x=shares["importance"],
        y=[label(name) for name in shares["parameter"]],
        orientation="h",
        marker={"color": theme.BLUE},
        text=[f"{value:.0%}" for value in shares["importance"]],
        textposition="outside",
        cliponaxis=False,
        customdata=shares["trials"],
        hovertemplate="<b>%{y}</b><br>importance %{x:.3f}<br>chosen in %{customdata} trials<extra></extra>",
    )
    figure.update_xaxes(tickformat=".0%", rangemode="tozero").update_yaxes(showgrid=False)
    figure.update_layout(bargap=0.35, margin={"r": 48})
    return _warn(figure, importances.warning(trials))


def _warn(figure: go.Figure, sentence: str) -> go.Figure:
    if not sentence:
        return figure
    lines = sentence.replace(": ", ":<br>")
    title = {"text": f"⚠ {lines}", "x": 0, "xref": "container", "y": 1, "yanchor": "top", "pad": {"t": 18, "l": 8}}
    return figure.update_layout(title=title | {"font": {"color": theme.VERMILION, "size": 13}}, margin={"t": 60})


def radar(trials: pd.DataFrame) -> go.Figure:
    """Every score of the best trial and of the published baselines, on one split."""
    scores, looks = compare.radar_scores(trials), theme.looks(trials)
    figure = theme.figure(400)
    names = [str(name) for name in scores]
    for trial in sorted(scores.index, key=lambda number: looks[number].rank):
        look, values = looks[trial], scores.loc[trial].tolist()
        figure.add_scatterpolar(
            r=[*values, *values[:1]],
            theta=[label(name) for name in [*names, *names[:1]]],
            mode="lines+markers",
            marker={"symbol": look.symbol, "size": 7, "color": look.colour},
            line={"color": look.colour, "width": look.width, "dash": look.dash},
            name=look.group,
            hovertemplate=f"<b>trial {trial}</b> {look.group}<br>%{{theta}} %{{r:.4f}}<extra></extra>",
        )
    low = 0.0 if scores.empty else max(0.0, float(scores.min().min()) // 0.1 / 10 - 0.1)
    figure.update_layout(polar_radialaxis={"range": [low, 1], "nticks": 5, "angle": 90, "tickangle": 90})
    return figure.update_layout(margin={"l": 92, "r": 92, "t": 36, "b": 28}, legend={"y": -0.12})


def image_scores(counts: pd.DataFrame) -> go.Figure:
    """How one trial's IoU spreads over the images of a split, from `analysis.load.counts`."""
    values = compare.image_iou(counts)
    figure = theme.figure(320, "IoU of an image", "images")
    figure.add_histogram(
        x=values,
        xbins={"start": 0, "end": 1.0001, "size": 0.05},
        marker={"color": theme.BLUE, "line": {"width": 1, "color": theme.GRID}},
        hovertemplate="IoU %{x}<br>%{y} images<extra></extra>",
        name="images",
    )
    for name, value, dash in (("mean", values.mean(), "solid"), ("median", values.median(), "dot")):
        figure.add_vline(value, line={"color": theme.VERMILION, "dash": dash, "width": 2})
        anchor = "right" if (name == "mean") == (values.mean() <= values.median()) else "left"
        note = {"x": value, "yref": "paper", "y": 1, "yanchor": "bottom", "xanchor": anchor, "showarrow": False}
        figure.add_annotation(text=f"{name} {value:.3f}", font={"color": theme.VERMILION}, **note)
    return figure.update_xaxes(range=[0, 1]).update_layout(margin={"t": 36}, showlegend=False)
