"""study.json: what a study is, and which process may write to it.

A new study's is created in one step, so that of two processes that take one name, one succeeds. A process that resumes
a study puts its own session there; one that still runs it sees that, and stops.
"""

import dataclasses
import platform
from importlib.metadata import version
from typing import Any

import torch

from seg import metrics, oversample, trivial
from study.plan import Plan
from study.records import now
from study.redact import redact
from study.store import Store, encode_json


class StudyTaken(Exception):
    """Another process has this name, or goes on with this study. The message is one line."""


def begin(plan: Plan, store: Store) -> None:
    """StudyTaken where there is a study already."""
    if not store.create("study.json", encode_json(describe(plan, created=now()))):
        raise StudyTaken(f"{store.uri}: a study of this name was begun a moment ago; take another --name")


def go_on(plan: Plan, store: Store, finished: str = "") -> None:
    before = store.read_json("study.json")
    store.write_json("study.json", before | describe(plan, before["created"], finished))


def note(store: Store, **remarks: Any) -> None:
    """Into study.json, beside what the study is: `verdict`, what it came to."""
    store.write_json("study.json", store.read_json("study.json") | remarks)


def check(plan: Plan, store: Store) -> None:
    """StudyTaken where another process has resumed the study: two that write would undo each other's records."""
    study = store.read_json("study.json")
    if study.get("session") != plan.session:
        other = f"on {study['machine']['host']}: {study['command']}"
        raise StudyTaken(f"{store.uri}: another process goes on with this study ({other}); this one has stopped")


def describe(plan: Plan, created: str, finished: str = "") -> dict[str, Any]:
    """study.json: what the study is, for `analysis`, resuming, and people."""
    prepared = plan.prepared
    packed = prepared.pack
    images = {split: len(packed.indices(split)) for split in ("train", "val", "test")}
    pixels = torch.from_numpy(packed.class_pixels_NC[packed.indices("train")])
    image_share, pixel_share = oversample.shares(pixels, torch.ones(len(pixels), dtype=torch.float64))
    return {
        "format": 1,
        "name": plan.name,
        "created": created,
        "finished": finished,
        "session": plan.session,
        "command": plan.command,
        "spec": plan.spec.to_json(),
        "dataset": {
            "name": packed.dataset,
            "synthetic": packed.synthetic,
            "remark": packed.remark,
            "class_names": list(packed.class_names),
            "images": images,
            "image_share": image_share,
            "pixel_share": pixel_share,
            "pack": packed.key,
            "trivial": {one.name: metrics.scores(one.counts(packed, "val")) for one in trivial.predictions(packed)},
        },
        "machine": {
            "cpus": sum(node.cpus for node in prepared.cluster.nodes),
            "gpus": sum(node.gpus for node in prepared.cluster.nodes),
            "nodes": len(prepared.cluster.nodes),
            "host": platform.node(),
        },
        "places": {
            "data": redact(str(prepared.data_dir)),
            "weights": redact(str(prepared.weights_dir)) if prepared.weights_dir else None,
        },
        "allotment": dataclasses.asdict(prepared.allotment),
        "software": {name: version(name) for name in ("torch", "torchvision", "ray", "optuna")}
        | {"python": platform.python_version()},
    }
