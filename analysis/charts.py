"""Which figures the report shows of a study, and what it says beside each."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import pandas as pd
import plotly.graph_objects as go

from analysis import classes, compare, comparison, effects, fanova, figures, load, sealed, standings, together
from analysis import importance as importances
from analysis.finalists_text import PLACES
from analysis.sealed import Finalist

SPLITS = {"val": "validation split", "test": "sealed test split"}


@dataclass(frozen=True)
class Chart:
    key: str
    title: str
    caption: str
    json: str
    wide: bool = False
    width_px: int = 0
    """The least it can be read at: a narrower page scrolls it."""


def laid_out(charts: Iterable[Chart]) -> list[Chart]:
    """Two narrow ones stand side by side; one that has nobody beside it takes the whole width."""
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
    """How the search went, and which choices lead. `every`: all trials, seed replicates included; as their `stints`."""
    trials, epochs = compare.originals(every), compare.originals(epochs)
    if compare.history(trials).empty:
        return
    alone = len(trials) == 1
    if not alone:
        ended = "Each trial's score in the order they ended; the line is the best."
        yield _chart("history", trials, "Best so far", ended)
        yield _chart("history_by_time", trials, "Best by training time", "The same against the training time spent.")
    curves = "The best trial, the baselines (dashed) and every other trial; a cross ends one stopped early."
    curves += " Dotted: rungs, where all but the best are." if compare.rungs(epochs) else ""
    some = f" Of {len(trials)} trials, about {compare.MOST_LINES}: the best, and some of the others."
    some = some if len(trials) > compare.MOST_LINES else ""
    yield _chart("learning_curves", epochs, "Learning curves", "" if alone else curves + some, wide=True)
    if compare.varied(trials):
        lines = f"Each line is a trial, from its choices to its score. Point at a line for its values.{some}"
        width = max(860, 150 + 80 * len(compare.varied(trials)))
        yield _chart("parallel_coordinates", trials, "Configurations", lines, wide=True, width_px=width)
    if len(importances.importance(trials)):
        why = "How much each choice decides whether a searched trial is among the best (PED-ANOVA). Not its direction."
        yield _chart("importance", trials, "What decides who leads", why)
    if len(said := comparison.sentences(trials)) > 1:
        yield _chart("best_of", trials, f"The best of each {comparison.choice(trials)}", " ".join(said), wide=True)
    yield from _of_choices(trials, epochs)
    yield from _of_costs(trials)
    if len(stints) and not alone:
        how = "A bar a trial, or what a lane did of one that paused; between two bars a lane had nothing to train."
        yield _chart("timeline", stints, "Where the time went", how, wide=True)


def _of_costs(trials: pd.DataFrame) -> Iterator[Chart]:
    """Where the time went, and what it bought."""
    finished = trials[trials["state"] == "COMPLETE"]
    if finished["loss"].nunique() * finished["encoder_freeze"].nunique() > 2:
        how = "Finished trials, whatever else they chose; a box for the middle half. Orange: fine-tuned; blue: frozen."
        yield _chart("loss_by_freezing", trials, "Loss and freezing", how)
    if panels := sum(str(name).endswith("_efficient") for name in compare.costs(trials)):
        how = "Blue: no other finished trial is as good for less. Grey: another one is."
        yield _chart("pareto", trials, "What a score costs", how, wide=panels > 2, width_px=190 * panels)


def _of_choices(trials: pd.DataFrame, epochs: pd.DataFrame) -> Iterator[Chart]:
    """How much each choice matters and what it does, where there are trials enough to say."""
    table, epoch = effects.comparable(trials, epochs)
    ended = "" if epoch == trials["epochs"].max() else f" as of epoch {epoch}, which all of them have,"
    shares = fanova.variance_shares(table)
    if len(shares):
        how = f"How much of the variance of the score{ended} each choice explains by itself (fANOVA), among the trials "
        how += "that have it; the rest is what choices do together, and chance."
        draw = partial(figures.variance_shares, found=shares)
        yield _chart("variance_shares", table, "What the score varies with", how, draw=draw)
    found = effects.effects(table)
    if not found:
        if len(table) > 1 and compare.varied(table):
            how = "Each searched trial's score against each of its choices; too few trials to say what each does."
            yield _chart("slices", trials, "Choice by choice", how, wide=True, width_px=760)
        return
    both = together.interactions(table, found)
    said = " ".join(effects.sentences(found, compare.objective(trials).ascending, both))
    how = f"The average score{ended} at each value, all other choices at their average; bars and bands: 95 %. {said}"
    draw = partial(figures.choice_effects, found=found)
    yield _chart("choice_effects", table, "What each choice does", how, wide=True, width_px=760, draw=draw)
    if surfaces := together.surfaces(table, together.pairs(found)):
        how = f"The average score{ended} over every two of the surest choices, all others at their average. Orange: "
        how += "trials; where none is, a guess."
        draw = partial(figures.contours, found=surfaces)
        yield _chart("contours", table, "What every two choices do", how, wide=True, width_px=860, draw=draw)


def of_scores(
    opened: load.Study,
    trials: pd.DataFrame,
    shown: int | None,
    counts: pd.DataFrame | None,
    found: Sequence[Finalist],
    score: str,
) -> Iterator[Chart]:
    """How good the best trial is: beside the baselines and class by class; then pixels and images (`counts`) of the
    trial that is `shown`, and the finalists `found`, best first by `score`."""
    leader, radar, ious = compare.best(trials), compare.radar_scores(trials), classes.ious(trials)
    if len(radar) > 1:
        how = f"Measured here, all alike, on the {SPLITS[radar.attrs['split']]}."
        yield _chart("radar", trials, "The best trial beside the baselines, score by score", how)
    if leader is None or shown is None:
        return
    if not ious.empty:
        how = (
            f"Trial {leader['trial']} as bars, other finalists and baselines as symbols; {SPLITS[ious.attrs['split']]}."
        )
        yield _chart("class_iou", trials, "Class by class", how)
    yield from _of_pixels(opened, shown)
    if len(found) > 1:
        images = standings.image_scores(found, score)
        where = PLACES[sealed.place(found)]
        how = f"Of the sealed test images, {where}; box: the middle half of the images, dashed: their mean."
        yield _chart("finalist_scores", images, "Image by image, finalist by finalist", how)
    if any(one.replicates for one in found):
        scores = standings.seed_scores(found, score)
        how = "A point a seed, filled: as searched; bars: 95 % over the images. What differs between seeds is luck."
        yield _chart("seed_scores", scores, "Seed by seed, finalist by finalist", how)
    if counts is not None:
        how = "How IoU spreads over the validation images."
        yield _chart("image_scores", counts, f"Image by image, trial {shown}", how)


def _of_pixels(opened: load.Study, trial: int) -> Iterator[Chart]:
    """What classes are taken for, and how rare they are."""
    for split in ("test", "val"):
        confusion = load.confusion(opened, trial, split)
        if confusion is not None:
            how = f"Of the pixels of each true class, the share predicted as each; {SPLITS[split]}, at training size."
            yield _chart("confusion", confusion, f"What trial {trial} takes for what", how)
            break
    shares = load.class_shares(opened, trial)
    if len(shares):
        drawn = f" Blue: as trial {trial} draws them, oversampling." if len(shares.columns) > 4 else ""
        how = f"Of the training images.{drawn}"
        yield _chart("class_frequencies", shares, "How frequent each class is", how)


def _chart(
    name: str,
    table: pd.DataFrame,
    title: str,
    caption: str,
    wide: bool = False,
    width_px: int = 0,
    draw: Callable[[pd.DataFrame], go.Figure] | None = None,
) -> Chart:
    """`json` stands inside a script element, which nothing in it may end. `draw`: the figure `name` by default."""
    figure = (draw or getattr(figures, name))(table)
    return Chart(name, title, caption, figure.to_json().replace("<", "\\u003c"), wide, width_px)
