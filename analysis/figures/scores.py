"""Figures of how good the best trials are: score by score, seed by seed, image by image."""

import pandas as pd
import plotly.graph_objects as go

from analysis import ranking
from analysis.figures import theme
from analysis.scores.labels import label

SEED_GAP = 0.2
"""The distance between the seeds of a finalist; two finalists are 1 apart."""


def radar(trials: pd.DataFrame) -> go.Figure:
    """Draw every score of the best trial and of the baselines, all on the same split."""
    scores, looks = ranking.radar_scores(trials), theme.looks(trials)
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
    """Draw how one trial's IoU varies over the images of a split, from `analysis.load.counts`."""
    values = ranking.image_iou(counts)
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
        note["xshift"] = -4 if anchor == "right" else 4
        figure.add_annotation(text=f"{name} {value:.3f}", font={"color": theme.VERMILION}, **note)
    return figure.update_xaxes(range=[0, 1]).update_layout(margin={"t": 36}, showlegend=False)


def seed_scores(scores: pd.DataFrame) -> go.Figure:
    """Draw each finalist's score with each of its training seeds, and the intervals over the images.

    `scores` is the table of `analysis.finalists.standings.seed_scores`. The seed that the search tried is filled.
    """
    names = scores["finalist"].unique().tolist()
    order, many = scores.groupby("finalist").cumcount(), scores.groupby("finalist")["seed"].transform("count")
    place = scores["finalist"].map(names.index) + SEED_GAP * (order - (many - 1) / 2)
    figure = theme.figure(120 + round(190 * SEED_GAP * len(scores)), "score on the test images", "")
    for searched, symbol in ((False, "circle-open"), (True, "circle")):
        rows = scores[(order == 0) == searched]
        figure.add_scatter(
            x=rows["score"],
            y=place[rows.index],
            mode="markers",
            marker={"symbol": symbol, "color": theme.BLUE, "size": 10, "line": {"width": 2, "color": theme.BLUE}},
            error_x=theme.reach(rows) | {"color": "rgba(0,114,178,0.45)"},
            ids=rows["trial"].astype(str),
            customdata=rows[["trial", "seed", "low", "high"]],
            hovertemplate="<b>trial %{customdata[0]}</b>, seed %{customdata[1]}<br>%{x:.4f} "
            "(%{customdata[2]:.4f} to %{customdata[3]:.4f})<extra></extra>",
        )
    figure.update_yaxes(range=[len(names) - 0.5, -0.5], tickvals=list(range(len(names))), ticktext=names)
    return figure.update_layout(showlegend=False)


def finalist_scores(images: pd.DataFrame) -> go.Figure:
    """Draw how each finalist's IoU varies over the images.

    `images` is the table of `analysis.finalists.standings.image_scores`. Boxes show the quartiles of the images, points
    the outliers.
    """
    figure = theme.figure(120 + 46 * images["finalist"].nunique(), "IoU of an image", "")
    for name, rows in images.groupby("finalist", sort=False):
        figure.add_box(
            x=rows["iou"],
            name=str(name),
            orientation="h",
            marker={"color": theme.BLUE, "size": 5},
            boxmean=True,
            boxpoints="suspectedoutliers",
            hovertext=rows["id"],
            hovertemplate="%{hovertext}<br>IoU %{x:.3f}<extra></extra>",
        )
    return figure.update_yaxes(autorange="reversed").update_layout(showlegend=False).update_xaxes(range=[0, 1.02])
