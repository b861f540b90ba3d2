"""study.json: what a study is, and which process may write to it.

The file is created in one step, so that only one of two processes that take the same name succeeds. A process that
resumes a study writes its own session there. A process that still runs the study sees that and stops.
"""

import dataclasses
import platform
from importlib.metadata import version
from typing import Any

import torch

from seg import batches, evaluate, metrics
from seg.errors import redact
from study.driver.plan import Plan
from study.store import Store, encode_json
from study.store.records import now, read_study


class StudyTaken(Exception):
    """Another process has taken this name, or has resumed this study. The message is one line."""


def begin(plan: Plan, store: Store) -> None:
    """Create study.json. Raises StudyTaken if there is a study already."""
    if not store.create("study.json", encode_json(describe(plan, created=now()))):
        raise StudyTaken(f"{store.uri}: a study of this name was begun a moment ago; take another --name")


def go_on(plan: Plan, store: Store, finished: str = "") -> None:
    before = read_study(store)
    store.write_json("study.json", before | describe(plan, before["created"], finished))


def note(store: Store, **remarks: Any) -> None:
    """Add remarks to study.json beside the study's description, such as its `verdict`."""
    store.write_json("study.json", read_study(store) | remarks)


def check(plan: Plan, store: Store) -> None:
    """Raise StudyTaken if another process has resumed the study: two writers would undo each other's records."""
    study = read_study(store)
    if study.get("session") != plan.session:
        other = f"on {study['machine']['host']}: {study['command']}"
        raise StudyTaken(f"{store.uri}: another process goes on with this study ({other}); this one has stopped")


def describe(plan: Plan, created: str, finished: str = "") -> dict[str, Any]:
    """Return the content of study.json, which describes the study for `analysis`, for resuming, and for people."""
    prepared = plan.prepared
    packed = prepared.pack
    images = {split: len(packed.indices(split)) for split in ("train", "val", "test")}
    pixels = torch.from_numpy(packed.class_pixels_NC[packed.indices("train")])
    image_share, pixel_share = batches.shares(pixels, torch.ones(len(pixels), dtype=torch.float64))
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
            "trivial": {
                one.name: metrics.scores(one.counts(packed, "val")) for one in evaluate.trivial_predictions(packed)
            },
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
        "software": {name: version(name) for name in ("torch", "torchvision", "optuna")}
        | ({} if prepared.allotment.in_process else {"ray": version("ray")})
        | {"python": platform.python_version()},
    }
