"""The numbers behind parallel coordinates: each trial's place, from 0 to 1, on each axis."""

import math
from dataclasses import dataclass

import pandas as pd

from analysis import compare

ABSENT = -0.14
"""Place, below the axis, of trials that have no such choice: a frozen encoder has no learning rate."""
SPREAD = 0.05
"""Trials with the same choice lie next to each other over this height, or their lines could not be told apart."""


@dataclass(frozen=True)
class Axis:
    name: str
    places: pd.Series
    """By the index of the trial table."""
    ticks: list[tuple[float, str]]


def axes(trials: pd.DataFrame) -> list[Axis]:
    """One axis for each choice that the searched trials made differently, the objective last.

    `trials` are the scored ones; baselines are placed on the same axes.
    """
    metric = compare.objective(trials).metric
    searched = trials[trials["source"] == compare.SEARCH]
    names = compare.varied(searched if len(searched) > 1 else trials)
    found = [_axis(trials[name], name) for name in names]
    return [*found, _linear(trials[metric].astype(float), metric)]


def _axis(values: pd.Series, name: str) -> Axis:
    numbers = pd.api.types.is_float_dtype(values) and values.nunique() > 2
    if not numbers:
        return _named(values, name)
    return _logarithmic(values, name) if is_logarithmic(values, name) else _linear(values, name)


def is_logarithmic(values: pd.Series, name: str) -> bool:
    """Learning rates, and what else is positive and spans more than a decade."""
    low, high = values.min(), values.max()
    return bool(low > 0 and (name.endswith("_lr") or high / low > 10))


def _named(values: pd.Series, name: str) -> Axis:
    """A tick a choice, in order, evenly spaced."""
    choices = sorted(values.dropna().unique().tolist())
    centre = {choice: (i + 0.5) / len(choices) for i, choice in enumerate(choices)}
    places = pd.Series([centre.get(value, ABSENT) for value in values], index=values.index, dtype=float)
    shifts = pd.Series([(i + 0.5) / len(values) - 0.5 for i in range(len(values))], index=values.index)
    return Axis(name, places + SPREAD * shifts, [(centre[choice], compare.text(choice)) for choice in choices])


def _linear(values: pd.Series, name: str) -> Axis:
    low, high = float(values.min()), float(values.max())
    if low == high:
        return Axis(name, pd.Series(0.5, index=values.index), [(0.5, compare.text(low))])
    ticks = [((value - low) / (high - low), f"{value:g}") for value in round_numbers(low, high)]
    return _placed(name, (values - low) / (high - low), ticks)


def round_numbers(low: float, high: float) -> list[float]:
    """Three to eight multiples of 1, 2 or 5 times a power of ten, within the range."""
    magnitude = 10.0 ** math.floor(math.log10(high - low))
    step = next(size for size in (2 * magnitude, magnitude, magnitude / 2, magnitude / 5) if (high - low) / size >= 4)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _logarithmic(values: pd.Series, name: str) -> Axis:
    """From the decade or half decade below the smallest to the one above the largest."""
    logs = values.map(math.log10, na_action="ignore").astype(float)
    low, high = math.floor(2 * logs.min()) / 2, math.ceil(2 * logs.max()) / 2
    high = high if high > low else low + 0.5
    decades = range(math.ceil(low), math.floor(high) + 1, math.ceil((high - low) / 8))
    ticks = [((decade - low) / (high - low), f"1e{decade}") for decade in decades]
    return _placed(name, (logs - low) / (high - low), ticks)


def _placed(name: str, places: pd.Series, ticks: list[tuple[float, str]]) -> Axis:
    absent = [(ABSENT, "none")] if places.isna().any() else []
    return Axis(name, places.fillna(ABSENT), absent + ticks)
