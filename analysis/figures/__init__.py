"""Figures: a table of `analysis.load` in, a plotly Figure out. The numbers come from compare, classes,
importance and axes.

Baselines have a symbol, a colour and their name in the legend, the same in every figure.
"""

from analysis.figures.best_of import best_of
from analysis.figures.choices import importance, parallel_coordinates, variance_shares
from analysis.figures.classes import class_frequencies, class_iou, confusion
from analysis.figures.contours import contour, contours
from analysis.figures.costs import pareto, timeline
from analysis.figures.effects import choice_effects, loss_by_freezing, slices
from analysis.figures.scores import finalist_scores, image_scores, radar, seed_scores
from analysis.figures.search import history, history_by_time, learning_curves

__all__ = [
    "best_of",
    "choice_effects",
    "class_frequencies",
    "class_iou",
    "confusion",
    "contour",
    "contours",
    "finalist_scores",
    "history",
    "history_by_time",
    "image_scores",
    "importance",
    "learning_curves",
    "loss_by_freezing",
    "parallel_coordinates",
    "pareto",
    "radar",
    "seed_scores",
    "slices",
    "timeline",
    "variance_shares",
]
