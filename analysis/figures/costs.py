"""Figures of what a score costs, and of how the lanes' time was used."""

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis import ranking
from analysis.figures import theme
from analysis.scores.labels import labels


def pareto(trials: pd.DataFrame) -> go.Figure:
    """Draw the score against each of its costs, one panel each.

    Trials with a score that no other trial reaches for less are joined by a line; all others are grey.
    """
    found = ranking.costs(trials)
    costs = [str(name) for name in found if f"{name}_efficient" in found]
    said = labels(trials)
    metric = said(ranking.objective(trials).metric)
    if not costs:
        return theme.figure(340, "", metric)
    figure = make_subplots(1, len(costs), shared_yaxes=True, horizontal_spacing=0.06)
    for column, cost in enumerate(costs, 1):
        known = found[found[cost].notna()]
        efficient = known[f"{cost}_efficient"]
        for rows, colour, joined in ((known[~efficient], theme.GREY, False), (known[efficient], theme.BLUE, True)):
            rows = rows.sort_values(cost)
            figure.add_scatter(
                x=rows[cost],
                y=rows["score"],
                mode="lines+markers" if joined else "markers",
                line={"shape": "hv", "color": colour, "width": 1.5},
                marker={"color": colour, "size": 9 if joined else 7, "opacity": 1 if joined else 0.6},
                **theme.pointed(rows["trial"], metric),
                row=1,
                col=column,
            )
        figure.update_xaxes(title_text=ranking.COSTS.get(cost, said(cost)), row=1, col=column)
    figure.update_layout(template=theme.TEMPLATE, height=360, showlegend=False)
    return figure.update_yaxes(title_text=metric, col=1)


def timeline(stints: pd.DataFrame) -> go.Figure:
    """Draw which lane trained which trial when, from `load.stints`: one bar each; gaps are idle time."""
    known = [stints[name].notna() & (stints[name].astype(str) != "") for name in ("lane", "started", "finished")]
    ran = stints[known[0] & known[1] & known[2]]
    begun, ended = (pd.to_datetime(ran[name], utc=True, errors="coerce") for name in ("started", "finished"))
    lanes = sorted(ran["lane"].unique(), key=lambda name: (len(name), name), reverse=True)
    figure = theme.figure(110 + 34 * len(lanes), "minutes since the study began", "")
    if ran.empty:
        return figure
    zero, looks, metric = begun.min(), theme.looks(stints), ranking.objective(stints).metric
    said, names = labels(stints)(metric), ranking.tooltip_columns(stints)
    figure.add_bar(
        base=(begun - zero).dt.total_seconds() / 60,
        x=(ended - begun).dt.total_seconds() / 60,
        y=ran["lane"].map(_short),
        orientation="h",
        width=0.7,
        marker={
            "color": [looks[trial].colour for trial in ran["trial"]],
            "line": {"width": 1, "color": "rgba(255,255,255,0.6)"},
        },
        ids=ran["trial"].astype(str),
        hovertemplate=[
            theme.hover(row, "" if pd.isna(row[metric]) else f"{said} {row[metric]:.4f}", names)
            for row in ran.to_dict("records")
        ],
        showlegend=False,
    )
    return figure.update_yaxes(categoryorder="array", categoryarray=[_short(lane) for lane in lanes])


def _short(lane: str) -> str:
    """Return `lane 3` for `<study>-lane-3`."""
    return f"lane {lane.rpartition('-')[2]}"
