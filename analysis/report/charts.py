"""The figures that the report shows for a study, and their captions."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import pandas as pd
import plotly.graph_objects as go

from analysis import figures, load, ranking
from analysis.finalists import sealed
from analysis.finalists.sealed import Finalist
from analysis.finalists.standings import PLACES, image_scores, seed_scores
from analysis.hyperparameters import comparison, effects, fanova
from analysis.hyperparameters import importance as importances
from analysis.ranking import Results
from analysis.scores import classes

SPLITS = {"val": "validation split", "test": "sealed test split"}


@dataclass(frozen=True)
class Chart:
    key: str
    title: str
    caption: str
    json: str
    wide: bool = False
    width_px: int = 0
    """The smallest readable width; a narrower page scrolls the chart."""


def laid_out(charts: Iterable[Chart]) -> list[Chart]:
    """Return the charts in rows: two narrow ones share a row, and a narrow one without a neighbour becomes wide."""
    found, alone = list[Chart](), False
    for chart in charts:
        if chart.wide and alone:
            found[-1] = replace(found[-1], wide=True)
        alone = not chart.wide and not alone
        found.append(chart)
    if alone:
        found[-1] = replace(found[-1], wide=True)
    return found


def of_search(every: pd.DataFrame, epochs: pd.DataFrame, stints: pd.DataFrame) -> Iterator[Chart]:
    """Yield the charts on how the search went and which choices lead.

    `every` holds all trials, seed replicates included; `stints` holds the times that they spent on lanes.
    """
    trials, epochs = ranking.originals(every), ranking.originals(epochs)
    if ranking.history(trials).empty:
        return
    alone = len(trials) == 1
    if not alone:
        ended = "Each trial's score, in the order in which the trials ended. The line is the best score so far."
        yield _chart("history", trials, "Best score by trial", ended)
        yield _chart(
            "history_by_time",
            trials,
            "Best score by training time",
            "The same scores, against the training time of all trials so far.",
        )
    curves = "The best trial, the baselines (dashed), and every other trial. A cross: stopped early."
    curves += " Dotted: early-stopping checkpoints; only the best trials continue." if ranking.rungs(epochs) else ""
    some = f" Of {len(trials)} trials, about {ranking.MAX_LINES}: the best, and some of the others."
    some = some if len(trials) > ranking.MAX_LINES else ""
    yield _chart("learning_curves", epochs, "Learning curves", "" if alone else curves + some, wide=True)
    if ranking.varied(trials):
        lines = f"Each line is a trial: its configuration and its score. Point at a line to see its values.{some}"
        width = max(860, 150 + 80 * len(ranking.varied(trials)))
        yield _chart("parallel_coordinates", trials, "Configurations", lines, wide=True, width_px=width)
    if len(deciding := importances.importance(trials)):
        why = "How much each choice decides whether a searched trial is among the best (PED-ANOVA)."
        draw = partial(figures.importance, found=deciding)
        yield _chart("importance", trials, "Importance of each choice", why, draw=draw)
    if len(said := comparison.sentences(trials)) > 1:
        yield _chart("best_of", trials, f"The best of each {comparison.choice(trials)}", " ".join(said), wide=True)
    yield from _of_choices(trials, epochs)
    yield from _of_costs(trials)
    if len(stints) and not alone:
        how = "One bar per trial, or per part of a trial that was paused. Gaps are idle time."
        yield _chart("timeline", stints, "Use of the lanes over time", how, wide=True)


def _of_costs(trials: pd.DataFrame) -> Iterator[Chart]:
    """Yield the charts on the loss and freezing, and on score against cost."""
    finished = trials[trials["state"] == "COMPLETE"]
    if finished["loss"].nunique() * finished["encoder_freeze"].nunique() > 2:
        how = "All finished trials; a box holds the middle half. Orange: fine-tuned encoder; blue: frozen encoder."
        yield _chart("loss_by_freezing", trials, "Score by loss and encoder freezing", how)
    if panels := sum(str(name).endswith("_efficient") for name in ranking.costs(trials)):
        how = "Blue: no other finished trial is at least as good at a lower cost. Grey: another trial is."
        yield _chart("pareto", trials, "Score against cost", how, wide=panels > 2, width_px=190 * panels)


def _of_choices(trials: pd.DataFrame, epochs: pd.DataFrame) -> Iterator[Chart]:
    """Yield the charts on how much each choice matters and what it does, if there are enough trials."""
    table, epoch = effects.comparable(trials, epochs)
    ended = "" if epoch == trials["epochs"].max() else f" as of epoch {epoch}, which all of them have,"
    shares = fanova.variance_shares(table)
    if len(shares):
        how = f"How much of the variance of the score{ended} each choice explains by itself (fANOVA), among the trials "
        how += "that have it. The rest is due to interactions and chance."
        draw = partial(figures.variance_shares, found=shares)
        yield _chart("variance_shares", table, "Variance of the score by choice", how, draw=draw)
    found = effects.effects(table)
    if not found:
        if len(table) > 1 and ranking.varied(table):
            how = "Each searched trial's score against each of its choices; too few trials to estimate effects."
            yield _chart("slices", trials, "Score against each choice", how, wide=True, width_px=760)
        return
    both = effects.interactions(table, found)
    said = " ".join(effects.sentences(found, ranking.objective(trials).ascending, both))
    how = f"The average score{ended} at each value, all other choices at their average, with 95 % intervals. {said}"
    draw = partial(figures.choice_effects, found=found)
    yield _chart("choice_effects", table, "Effect of each choice", how, wide=True, width_px=760, draw=draw)
    if surfaces := effects.surfaces(table, effects.pairs(found)):
        how = f"The average score{ended} over pairs of the clearest choices, all others at their average. "
        how += "Orange: trials. Far from any trial, the colour is extrapolated."
        draw = partial(figures.contours, found=surfaces)
        yield _chart("contours", table, "Effects of pairs of choices", how, wide=True, width_px=860, draw=draw)


def of_scores(
    opened: load.Study,
    results: Results,
    counts: pd.DataFrame | None,
    found: Sequence[Finalist],
    score: str,
) -> Iterator[Chart]:
    """Yield the charts on how good the best trial is, beside the baselines and class by class.

    Then come charts of the pixels and images of the trial `results.shown` (`counts`: its validation counts), and of
    the finalists `found`, ranked by `score`.
    """
    trials, leader = results.trials, results.best
    radar, ious = ranking.radar_scores(trials), classes.ious(trials)
    if len(radar) > 1:
        how = f"All measured in the same way, on the {SPLITS[radar.attrs['split']]}."
        yield _chart("radar", trials, "All scores of the best trial and the baselines", how)
    if leader is None or results.shown is None:
        return
    shown = int(results.shown["trial"])
    if not ious.empty:
        how = (
            f"Trial {leader['trial']} as bars, other finalists and baselines as symbols; {SPLITS[ious.attrs['split']]}."
        )
        yield _chart("class_iou", trials, "IoU per class", how)
    yield from _of_pixels(opened, shown)
    if len(found) > 1:
        images = image_scores(found, score)
        where = PLACES[sealed.place(found)]
        how = f"{score} of the sealed test images, {where}. Box: the middle half of the images; dashed: their mean."
        yield _chart("finalist_scores", images, "Score per test image", how)
    if any(one.replicates for one in found):
        scores = seed_scores(found, score)
        how = "One point per seed; filled: the seed of the search. Bars: 95 % intervals over the images."
        yield _chart("seed_scores", scores, "Score per seed", how)
    if counts is not None:
        how = "The distribution of IoU over the validation images."
        yield _chart("image_scores", counts, f"IoU per image (trial {shown})", how)


def _of_pixels(opened: load.Study, trial: int) -> Iterator[Chart]:
    """Yield the confusion matrix of a trial and the frequency of each class."""
    for split in ("test", "val"):
        confusion = load.confusion(opened, trial, split)
        if confusion is not None:
            how = f"How each true class's pixels are predicted, as shares; {SPLITS[split]}, at training size."
            yield _chart("confusion", confusion, f"Confusion matrix (trial {trial})", how)
            break
    shares = load.class_shares(opened, trial)
    if len(shares):
        drawn = f" Blue: as trial {trial} draws them, with oversampling." if len(shares.columns) > 4 else ""
        how = f"In the training images.{drawn}"
        yield _chart("class_frequencies", shares, "Frequency of each class", how)


def _chart(
    name: str,
    table: pd.DataFrame,
    title: str,
    caption: str,
    wide: bool = False,
    width_px: int = 0,
    draw: Callable[[pd.DataFrame], go.Figure] | None = None,
) -> Chart:
    """Return the chart that `draw` makes from `table`. By default, `draw` is `analysis.figures.<name>`.

    The JSON stands inside a script element, so `<` is escaped: no text in it can close that element.
    """
    figure = (draw or getattr(figures, name))(table)
    return Chart(name, title, caption, figure.to_json().replace("<", "\\u003c"), wide, width_px)
