"""Figures: each function takes a table of `analysis.load` and returns a plotly Figure.

The numbers come from `analysis.ranking`, `analysis.scores`, and `analysis.hyperparameters`. A baseline has a symbol, a
colour, and its name in the legend, the same in every figure.
"""

from analysis.figures.classes import class_frequencies, class_iou, confusion
from analysis.figures.contours import contour, contours
from analysis.figures.costs import pareto, timeline
from analysis.figures.effects import choice_effects, loss_by_freezing, slices
from analysis.figures.importance import importance, parallel_coordinates, variance_shares
from analysis.figures.scores import finalist_scores, image_scores, radar, seed_scores
from analysis.figures.search import best_of, history, history_by_time, learning_curves

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
