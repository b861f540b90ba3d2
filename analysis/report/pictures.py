"""The report's pictures: image, truth, and prediction side by side, lowest IoU first, and the colour legend."""

import base64
import io
from dataclasses import dataclass

import pandas as pd
from PIL import Image

from analysis import load
from analysis.figures import theme
from analysis.scores import classes

JPEG_QUALITY = 88
TITLES = {"worst": "The worst", "median": "Around the median"}


@dataclass(frozen=True)
class Strip:
    id: str
    iou: str
    note: str
    """A remark on the image with the lowest IoU; empty for the others."""
    jpeg: str


@dataclass(frozen=True)
class Gallery:
    trial: int
    strips: dict[str, list[Strip]]
    """The strips by title."""
    colours: list[tuple[str, str]]
    """Each class and its colour; empty for two classes, which need no legend."""


def gallery(opened: load.Study) -> Gallery | None:
    """Return the study's gallery, or None if it has no pictures yet."""
    trial, pictures = load.gallery(opened)
    if trial is None:
        return None
    names, counts = opened.info["dataset"]["class_names"], load.counts(opened, trial)
    lowest = min((picture.iou for picture in pictures), default=None)
    strips = {
        title: [_strip(p, _note(p, names, counts) if p.iou == lowest else "") for p in pictures if p.rank == rank]
        for rank, title in TITLES.items()
    }
    return Gallery(trial, {title: found for title, found in strips.items() if found}, _colours(names))


@dataclass(frozen=True)
class Duel:
    trials: tuple[int, int]
    strips: dict[str, list[Strip]]
    """The strips by title, which says which trial is better on them."""


def duel(opened: load.Study) -> Duel | None:
    """Return the images on which the two leading trials differ most.

    None if fewer than two trials were scored, or if neither is better on any image.
    """
    trials, apart = load.duel(opened)
    if trials is None or not apart:
        return None
    first, second = trials
    titles = {f"Trial {first} beats {second} here": True, f"Trial {second} beats {first} here": False}
    strips = {
        title: [_pair(one) for one in apart if (one.ious[0] > one.ious[1]) is wins] for title, wins in titles.items()
    }
    return Duel(trials, {title: found for title, found in strips.items() if found})


def _pair(one: load.Difference) -> Strip:
    return Strip(one.id, " against ".join(f"{iou:.3f}" for iou in one.ious), "", _jpeg(one.png))


def _note(picture: load.Picture, names: list[str], counts: pd.DataFrame | None) -> str:
    if counts is None:
        return "The lowest IoU of all validation images."
    covered = classes.in_image(counts, picture.id, names)
    return f"The lowest IoU of {counts['id'].nunique()} validation images" + (f": {covered}." if covered else ".")


def _colours(names: list[str]) -> list[tuple[str, str]]:
    shades = [theme.CLASSES[index % len(theme.CLASSES)] for index in range(len(names) - 1)]
    return list(zip(names[1:], shades, strict=True)) if len(names) > 2 else []


def _strip(picture: load.Picture, note: str) -> Strip:
    return Strip(picture.id, f"{picture.iou:.3f}", note, _jpeg(picture.png))


def _jpeg(png: bytes) -> str:
    """Return a PNG as a base64 JPEG of a tenth of its size, so that the report can be sent by mail."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").save(buffer, "JPEG", quality=JPEG_QUALITY)
    return base64.b64encode(buffer.getvalue()).decode()
