"""Figures by class: how often each occurs, how well it is found, and what it is mistaken for."""

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.figures import theme
from analysis.scores import classes

MAX_CLASSES_WRITTEN = 12
"""The most classes for which a confusion matrix shows its numbers; with more, they appear only on hover."""
MIN_SHARE_WRITTEN = 0.005
"""The smallest share that is written in a cell; a lower one would be written 0 %."""


def confusion(table: pd.DataFrame) -> go.Figure:
    """Draw the confusion matrix of `analysis.load.confusion` as shares of each true class's pixels."""
    rows = classes.taken_for(table)
    figure = theme.figure(150 + 44 * rows["truth"].nunique(), "predicted", "truth")
    figure.add_heatmap(
        x=rows["prediction"],
        y=rows["truth"],
        z=rows["share"],
        zmin=0,
        zmax=1,
        colorscale=[[0, "rgba(0,114,178,0)"], [1, theme.BLUE]],
        showscale=False,
        xgap=2,
        ygap=2,
        customdata=rows["pixels"],
        hovertemplate="<b>%{y}</b> taken for <b>%{x}</b><br>%{z:.2%}: %{customdata:,} pixels<extra></extra>",
    )
    if rows["truth"].nunique() <= MAX_CLASSES_WRITTEN:
        figure.update_layout(
            annotations=[_share(row) for _, row in rows[rows["share"] >= MIN_SHARE_WRITTEN].iterrows()]
        )
    figure.update_yaxes(autorange="reversed", showgrid=False)
    # Plotly does not turn labels that nearly touch.
    return figure.update_xaxes(showgrid=False, tickangle=-35 if rows["truth"].nunique() > 3 else 0)


def _share(row: pd.Series) -> dict[str, object]:
    """Return a cell's annotation: white on dark cells, otherwise in the page's text colour."""
    note = {"x": row["prediction"], "y": row["truth"], "text": f"{row['share']:.0%}", "showarrow": False}
    return {**note, "font": {"color": "#FFFFFF"}} if row["share"] > 0.5 else note


def class_iou(trials: pd.DataFrame) -> go.Figure:
    """Draw the IoU of each class: the best trial as bars, other finalists and baselines as symbols."""
    scores, looks = classes.ious(trials), theme.looks(trials)
    figure = theme.figure(110 + 40 * scores.shape[1], "IoU")
    for trial in sorted(scores.index, key=lambda number: looks[number].rank):
        look = looks[trial]
        hover = f"<b>%{{y}}</b> IoU %{{x:.4f}}<br>trial {trial} {look.group}<extra></extra>"
        place = {"x": scores.loc[trial], "y": list(scores), "name": look.group, "hovertemplate": hover}
        if look.rank == theme.LEADS:
            figure.add_bar(**place, orientation="h", marker={"color": look.colour, "opacity": 0.45}, width=0.6)
        else:
            marker = {"symbol": look.symbol, "color": look.colour, "size": 10}
            figure.add_scatter(**place, mode="markers", marker=marker)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return figure.update_xaxes(range=[0, 1]).update_layout(margin={"l": 20})


def class_frequencies(shares: pd.DataFrame) -> go.Figure:
    """Draw how often each class occurs in the training images, as they are and as oversampling draws them.

    `shares` is the table of `analysis.load.class_shares`.
    """
    panels = {"share of pixels": "pixel_share", "share of images that hold it": "image_share"}
    height = 130 + 2 * (30 + 34 * len(shares))
    apart = 64 / (height - 130)  # room for an axis and the title below it, however few classes there are
    figure = make_subplots(2, 1, subplot_titles=list(panels), vertical_spacing=apart, figure=theme.figure(height))
    for place, column in enumerate(panels.values(), start=1):
        for name, prefix, colour in (("as they are", "", theme.GREY), ("as drawn", "sampled_", theme.BLUE)):
            if prefix + column in shares:
                figure.add_bar(**_bars(shares, prefix + column, name, colour), row=place, col=1)
    figure.update_xaxes(range=[0, 1.15], tickvals=[0, 0.25, 0.5, 0.75, 1], tickformat=".0%")
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_annotations(font={"size": 13})
    return figure.update_layout(bargap=0.25, margin={"l": 20, "t": 40})


def _bars(shares: pd.DataFrame, column: str, name: str, colour: str) -> dict[str, object]:
    return {
        "x": shares[column],
        "y": shares["name"],
        "orientation": "h",
        "name": name,
        "legendgroup": name,
        "showlegend": column.endswith("pixel_share"),
        "marker": {"color": colour},
        "text": [_percent(value) for value in shares[column]],
        "textposition": "outside",
        "cliponaxis": False,
        "hovertemplate": f"<b>%{{y}}</b> %{{x:.3%}}<br>{name}<extra></extra>",
    }


def _percent(share: float) -> str:
    """Return a share as a percentage with two digits: 0.43%, 4.3%, 43%."""
    return f"{share:.0%}" if share >= 0.1 else f"{share:.1%}" if share >= 0.01 else f"{share:.2%}"
