"""How the search went: scores by trial, by training time, by epoch."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from analysis import compare, theme
from analysis.measures import labels
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
    figure = theme.figure(340, x_title, labels(trials)(compare.objective(trials).metric))
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
    """Rows that are drawn alike, what matters most last."""
    looks = theme.looks(trials)
    found = sorted({looks[trial] for trial in rows["trial"]}, key=lambda look: (look.rank, look.group))
    yield from ((look, rows[rows["trial"].map(looks) == look]) for look in found)


def _markers(look: Look) -> dict[str, object]:
    line = {"width": 2, "color": look.colour} if look.symbol == "x-thin" else {}
    marker = {"symbol": look.symbol, "color": look.colour, "size": look.size, "opacity": look.opacity, "line": line}
    return {"mode": "markers", "marker": marker, "name": look.group}


def _hovers(trials: pd.DataFrame, rows: pd.DataFrame) -> dict[str, object]:
    by_trial, names = theme.by_number(trials), compare.told(trials)
    metric = labels(trials)(compare.objective(trials).metric)
    return {
        "hovertemplate": [
            theme.hover(by_trial[trial], f"{metric} {score:.4f}", names)
            for trial, score in zip(rows["trial"], rows["score"], strict=True)
        ]
    }


def learning_curves(epochs: pd.DataFrame) -> go.Figure:
    """The objective by epoch, one line a trial: the best in front, baselines dashed, those stopped early in grey; a
    vertical line at each rung."""
    metric = compare.objective(epochs).metric
    figure = theme.figure(420, "epoch", labels(epochs)(metric))
    if epochs.empty:
        return figure
    trials = _last_rows(epochs)
    looks, by_trial = theme.looks(trials), theme.by_number(trials)
    shown: set[str] = set()
    drawn = compare.telling(trials)["trial"]
    curves = dict(iter(epochs[epochs["trial"].isin(drawn)].groupby("trial")))
    for trial in sorted(drawn, key=lambda number: looks[number].rank):
        rows, look = curves[trial], looks[trial]
        figure.add_scatter(x=rows["epoch"], y=rows[metric], **theme.line(look, shown), **_ends(look, len(rows)))
        hover = _curve_hover(by_trial[trial], labels(epochs)(metric))
        figure.data[-1].update(hovertemplate=hover, meta=int(trial))
    for rung in (rungs := compare.rungs(epochs)):
        line = {"color": theme.GREY, "width": 1, "dash": "dot"}
        figure.add_vline(rung, line=line, layer="below")
    if rungs:
        note = {"text": "rungs", "showarrow": False, "font": {"size": 11}, "xanchor": "left", "xshift": 3}
        figure.add_annotation(x=rungs[0], y=1, yref="paper", yanchor="top", **note)
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


def _ends(look: Look, epochs: int) -> dict[str, object]:
    """The trial's symbol on its last epoch; the others are small dots to point at."""
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
