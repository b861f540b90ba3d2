"""Figures: a table of `analysis.load` in, a plotly Figure out. The numbers come from compare, classes,
importance and axes.

Published baselines have a symbol, a colour and their name in the legend, the same in every figure.
"""

from analysis.figures.choices import importance, parallel_coordinates
from analysis.figures.classes import class_frequencies, class_iou, confusion
from analysis.figures.effects import choice_effects
from analysis.figures.scores import image_scores, radar
from analysis.figures.search import history, history_by_time, learning_curves

__all__ = [
    "choice_effects",
    "class_frequencies",
    "class_iou",
    "confusion",
    "history",
    "history_by_time",
    "image_scores",
    "importance",
    "learning_curves",
    "parallel_coordinates",
    "radar",
]
