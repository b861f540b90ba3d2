"""Figures: a table in, a plotly Figure out. Numbers come from analysis.compare."""

import math

import pandas as pd
import plotly.graph_objects as go

from analysis import compare

# Okabe & Ito's palette, told apart by colour-blind readers; grey for what was stopped early.
BLUE, ORANGE, GREEN, RED, PURPLE, SKY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"
COLOURS = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY)
GREY = "rgba(140,140,140,0.55)"
SCALE = [[0, "#b9bec7"], [0.5, SKY], [1, RED]]
GRID = "rgba(128,128,128,0.22)"
TEXT = "#6b7280"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"

NAMES = {
    "val_iou": "validation IoU",
    "val_dice": "validation Dice",
    "val_loss": "validation loss",
    "train_loss": "training loss",
}


def _name(metric: str) -> str:
    return NAMES.get(metric, metric)


def _figure(x_title: str = "", y_title: str = "", height: int = 400) -> go.Figure:
    """Transparent, so that it stands on a light page and on a dark one."""
    figure = go.Figure()
    figure.update_layout(
        height=height,
        margin={"l": 60, "r": 20, "t": 30, "b": 50},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": FONT, "size": 13, "color": TEXT},
        colorway=list(COLOURS),
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        hoverlabel={"align": "left"},
    )
    axis = {"gridcolor": GRID, "zeroline": False, "linecolor": GRID, "ticks": "outside", "tickcolor": GRID}
    figure.update_xaxes(title=x_title, **axis)
    figure.update_yaxes(title=y_title, **axis)
    return figure


def history(trials: pd.DataFrame, metric: str = "val_iou", mode: str = "max") -> go.Figure:
    """Every ended trial's score in the order they ended, the best so far, published baselines as stars."""
    points = compare.best_so_far(trials, metric, mode)
    figure = _figure("trials ended", _name(metric))
    figure.add_scatter(
        x=points["order"],
        y=points["best"],
        mode="lines",
        line={"shape": "hv", "color": BLUE, "width": 2},
        name="best so far",
    )
    baseline = compare.is_baseline(points)
    complete = points["state"] == "COMPLETE"
    kinds = (
        ("stopped early", ~baseline & ~complete, {"symbol": "circle-open", "color": GREY, "size": 8}),
        ("finished", ~baseline & complete, {"symbol": "circle", "color": BLUE, "size": 9}),
        ("published baseline", baseline, {"symbol": "star", "color": ORANGE, "size": 14}),
    )
    for name, chosen, marker in kinds:
        rows = points[chosen]
        figure.add_scatter(
            x=rows["order"],
            y=rows["score"],
            mode="markers",
            marker=marker,
            name=name,
            customdata=rows[["trial", "model", "loss", "source", "state"]],
            hovertemplate="trial %{customdata[0]} · %{y:.4f}<br>%{customdata[1]}, %{customdata[2]}"
            "<br>%{customdata[3]} · %{customdata[4]}<extra></extra>",
        )
    figure.update_xaxes(dtick=max(1, math.ceil(len(points) / 10)))
    return figure


def learning_curves(epochs: pd.DataFrame, metric: str = "val_iou", mode: str = "max") -> go.Figure:
    """One line a trial; the best drawn last and thick, baselines dashed, trials stopped early in grey."""
    figure = _figure("epoch", _name(metric), height=460)
    figure.update_layout(legend={"y": -0.16, "yanchor": "top"})
    order = epochs.groupby("trial")[metric].agg("max" if mode == "max" else "min").sort_values(ascending=mode == "max")
    for trial in order.index:
        rows = epochs[epochs["trial"] == trial]
        figure.add_scatter(**_curve(rows, metric, best=trial == order.index[-1]))
    return figure


def _curve(rows: pd.DataFrame, metric: str, best: bool) -> dict[str, object]:
    trial, source, state = (rows[name].iloc[0] for name in ("trial", "source", "state"))
    baseline = source != "search"
    colour = BLUE if best else ORANGE if baseline else GREY if state == "PRUNED" else SKY
    named = best or baseline
    return {
        "x": rows["epoch"],
        "y": rows[metric],
        "mode": "lines+markers",
        "line": {
            "color": colour,
            "width": 3.5 if best else 2 if baseline else 1.2,
            "dash": "dot" if baseline else "solid",
        },
        "marker": {"size": 5 if named else 3},
        "name": f"best: trial {trial}" if best else f"{source}" if baseline else f"trial {trial}",
        "showlegend": bool(named),
        "hovertemplate": f"trial {trial} ({state}, {source})<br>epoch %{{x}} · %{{y:.4f}}<extra></extra>",
    }


def parallel_coordinates(trials: pd.DataFrame, metric: str = "val_iou", mode: str = "max") -> go.Figure:
    """One line a scored trial through its choices, grey (bad) to red (good). A frozen encoder's rate stands lowest."""
    rows = trials[trials["state"].isin(compare.SCORED) & trials[metric].notna()]
    searched = rows[~compare.is_baseline(rows)]
    names = compare.varied(searched if len(searched) > 1 else rows)
    axes = [_axis(rows[name], name) for name in names]
    axes.append({"label": metric, "values": rows[metric]})
    figure = _figure(height=460)
    figure.add_trace(
        go.Parcoords(
            dimensions=axes,
            line={"color": rows[metric], "colorscale": SCALE, "reversescale": mode == "min"},
            labelangle=-20,
            labelside="bottom",
            unselected={"line": {"opacity": 0.05}},
        )
    )
    figure.update_layout(margin={"l": 130, "r": 60, "t": 30, "b": 80})
    return figure


def _axis(values: pd.Series, name: str) -> dict[str, object]:
    if not compare.is_number(values.dropna().infer_objects()):
        names = sorted({_text(value) for value in values})
        places = [names.index(_text(value)) for value in values]
        return {"label": name, "values": places, "tickvals": list(range(len(names))), "ticktext": names}
    numbers = values.astype(float)
    if not compare.is_logarithmic(numbers):
        return {"label": name, "values": numbers.fillna(numbers.min())}
    return _log_axis(numbers, name)


def _log_axis(values: pd.Series, name: str) -> dict[str, object]:
    """Ticks at powers of ten; trials that have no such choice stand a step below, marked `none`."""
    logs = values.map(math.log10)
    low, high = math.floor(logs.min()), math.ceil(logs.max())
    ticks = list(range(low, high + 1))
    texts = [f"1e{tick}" for tick in ticks]
    if logs.isna().any():
        ticks, texts = [low - 1, *ticks], ["none", *texts]
    return {
        "label": name,
        "values": logs.fillna(low - 1),
        "tickvals": ticks,
        "ticktext": texts,
        "range": [ticks[0], ticks[-1]],
    }


def _text(value: object) -> str:
    missing = value is None or value != value
    return "none" if missing else str(value).lower() if isinstance(value, bool) else str(value)


def importance(trials: pd.DataFrame, metric: str = "val_iou", mode: str = "max") -> go.Figure:
    """Share of each choice in what makes a trial good, with a warning where trials are too few."""
    found = compare.importance(trials, metric, mode)
    shares = found.shares.iloc[::-1]
    figure = _figure("share of importance", height=max(220, 70 + 34 * len(shares)))
    figure.add_bar(
        x=shares["importance"],
        y=shares["hyperparameter"],
        orientation="h",
        marker={"color": BLUE},
        hovertemplate="%{y}: %{x:.2f}<extra></extra>",
    )
    figure.update_layout(margin={"l": 150, "t": 50})
    figure.update_yaxes(ticks="")
    if found.warning:
        figure.update_layout(title={"text": found.warning, "font": {"size": 13, "color": RED}})
    return figure


def radar(trials: pd.DataFrame) -> go.Figure:
    """Validation scores of the published baselines and of the best trial, as the reports drew theirs."""
    names = [
        f"val_{n}" for n in ("iou", "dice", "sensitivity", "specificity", "pixel_accuracy") if f"val_{n}" in trials
    ]
    best = compare.leaderboard(trials).head(1)
    rows = pd.concat([best, trials[compare.is_baseline(trials)].drop(best.index, errors="ignore")])
    figure = _figure(height=460)
    for _, row in rows.dropna(subset=names).iterrows():
        figure.add_trace(
            go.Scatterpolar(
                r=[row[name] for name in [*names, names[0]]],
                theta=[name.removeprefix("val_").replace("_", " ") for name in [*names, names[0]]],
                name=f"trial {row['trial']}" if row["source"] == "search" else row["source"],
            )
        )
    radial = {"range": [0, 1], "gridcolor": GRID, "linecolor": GRID}
    angular = {"gridcolor": GRID, "linecolor": GRID}
    figure.update_layout(polar={"bgcolor": "rgba(0,0,0,0)", "radialaxis": radial, "angularaxis": angular})
    figure.update_layout(legend={"orientation": "h", "y": -0.12, "yanchor": "top"}, margin={"l": 40, "r": 40, "b": 90})
    return figure
