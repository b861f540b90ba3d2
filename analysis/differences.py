"""Why a figure of ours and a published one need not agree, a short phrase each."""

from collections.abc import Iterator
from typing import Any

from analysis.references import Reference
from study.records import Record

FROM_SCRATCH = frozenset({"unet"})
"""Architectures that were published without ImageNet weights."""


def of_baseline(info: dict[str, Any], baseline: dict[str, Any], record: Record | None) -> Iterator[str]:
    """What kept a study (`info`: its study.json) from repeating a published run; `record` is None before its trial."""
    yield from of_data(info)
    if record is not None:
        yield from _of_run(record)
        yield from _unlike(baseline.get("protocol", {}), _numbers(info, record), info["dataset"]["remark"])
    yield from baseline.get("remarks", [])


def of_data(info: dict[str, Any]) -> Iterator[str]:
    if info["dataset"]["synthetic"]:
        yield "synthetic images"
    if info["dataset"]["remark"]:
        yield info["dataset"]["remark"]


def of_reference(info: dict[str, Any], reference: Reference) -> Iterator[str]:
    yield reference.how
    yield from of_data(info)
    stated = {"image_size": reference.image_size, "test_images": reference.test_images}
    ours = {"image_size": info["spec"]["image_size"], "test_images": info["dataset"]["images"]["test"]}
    yield from _unlike(stated, ours, info["dataset"]["remark"])


def _of_run(record: Record) -> Iterator[str]:
    if record.state != "COMPLETE":
        yield f"trial {record.trial} is {record.state}" + (f" ({record.reason})" if record.reason else "")
    weights, model = record.experiment.get("encoder_weights"), record.experiment.get("model")
    if weights == "none" and model not in FROM_SCRATCH:
        yield "encoder weights none instead of imagenet"
    if record.best_epoch:
        yield f"epoch {record.best_epoch} of {len(record.epochs)}, chosen on validation images"


def _numbers(info: dict[str, Any], record: Record) -> dict[str, Any]:
    """Of our run, what a publication may state of its own."""
    images = {f"{split}_images": count for split, count in info["dataset"]["images"].items()}
    epochs = len(record.epochs) if record.state == "COMPLETE" else record.experiment.get("epochs")
    return {**record.experiment, **images, "epochs": epochs, "classes": len(info["dataset"]["class_names"])}


def _unlike(stated: dict[str, Any], ours: dict[str, Any], said: str) -> Iterator[str]:
    """Where both numbers are known and not the same, unless `said` tells it already: 305 of 379 test images."""
    for name, theirs in stated.items():
        known = theirs is not None and ours.get(name) is not None
        if known and ours[name] != theirs and f"{ours[name]} of {theirs}" not in said:
            yield f"{name.replace('_', ' ')} {ours[name]} instead of {theirs}"
