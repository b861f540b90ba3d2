"""Prepare what lanes need before they start: a plan, the data as a pack, encoder weights, room on the machine."""

import os
import statistics
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from seg import metrics, models, pack
from seg.data import DataError, Dataset, split
from seg.pack import Pack
from study.driver import planning
from study.driver.planning import Planned, Situation
from study.driver.timing import Timer
from study.lanes import supplies
from study.lanes.resources import Allotment, Cluster, Machine, allot
from study.ranking.objective import COSTS
from study.spec import Spec, SpecError, budget
from study.spec.errors import did_you_mean
from study.store import Store, packs
from study.trials.messages import RemoteInputs

SAMPLED = 8
"""The number of images whose size is measured."""


@dataclass(frozen=True)
class Begun:
    """The progress of a study that is resumed."""

    ended: int
    """The number of trials that have ended."""
    used_seconds: float
    """Seconds of a budget in hours that earlier sessions used."""
    extends: bool
    """Whether to add as many trials as a new budget holds."""


@dataclass(frozen=True)
class Prepared:
    data_dir: Path
    weights_dir: Path | None
    """The folder of the encoder weights; None if every encoder starts from scratch."""
    pack: Pack
    cluster: Cluster
    allotment: Allotment
    elsewhere: RemoteInputs | None = None
    """How other nodes get the data; None if there are no other nodes."""
    planned: Planned | None = None
    """The plan; None if there was nothing to plan, as in a resumed study, whose plan is in its spec."""
    reserved_seconds: float = 0.0
    """Seconds of a budget in hours or money that are kept for what follows the search: scoring and report."""

    def summary(self) -> str:
        return describe_pack(self.pack)


def describe_pack(packed: Pack) -> str:
    images = ", ".join(f"{len(packed.indices(split))} {split}" for split in ("train", "val", "test"))
    synthetic = "SYNTHETIC " if packed.synthetic else ""
    remark = f" ({packed.remark})" if packed.remark else ""
    return f"{synthetic}{packed.dataset}{remark}, {images} images at {packed.image_size} px"


def prepare(
    spec: Spec,
    dataset: Dataset,
    data_dir: Path,
    weights_dir: Path | None,
    cluster: Cluster,
    storage: Store,
    elapsed_seconds: float = 0.0,
    begun: Begun | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[Spec, Prepared]:
    """Return the spec with nothing left open, and what the study needs.

    `dataset` lies in `data_dir`. If it is not decoded yet, `storage` may have it as a published pack. On a cluster,
    what the nodes need is put into `storage`. `begun`: the study is resumed, and its plan stays. `elapsed_seconds`
    since the command was typed count against a budget.

    Raises ResourceError, WeightsError, SpecError, or DataError if something is missing, and StoreError if the storage
    cannot be written. The quick checks come first.
    """
    check_costs(spec, allot(spec, cluster))
    check_objective(spec, dataset.classes)
    found_weights = encoder_weights(spec, data_dir, weights_dir)
    used_seconds = begun.used_seconds if begun else 0.0
    at = situation(spec, dataset, cluster, elapsed_seconds + used_seconds, say)
    planned = planning.plan(spec, at) if begun is None and planning.is_open(spec) else None
    if planned:
        spec = planned.spec
    elif begun is None:
        spec = planning.with_rungs(spec, at)
    elif begun.extends:
        spec = planning.extend(spec, at, begun.ended)
    packed = pack.build(dataset, spec.image_size, pack.default_root(), obtain=packs.obtain_from(storage))
    elsewhere = None
    if cluster.joined:
        elsewhere = supplies.publish(spec, storage, packed, found_weights, data_dir.resolve())
    # The plan may have fewer trials than there were lanes. Further lanes would only wait.
    allotment = allot(spec, cluster)
    reserved = planning.ending_seconds(spec, at) if spec.budget else 0.0
    return spec, Prepared(data_dir.resolve(), found_weights, packed, cluster, allotment, elsewhere, planned, reserved)


def situation(
    spec: Spec, dataset: Dataset, cluster: Cluster, elapsed_seconds: float, say: Callable[[str], None]
) -> Situation:
    """Return what the study is planned for. Training is timed on this machine, with a lane's number of threads."""
    allotment = allot(spec, cluster)
    assigned = list(split.assign(dataset.samples).values())
    images = {name: assigned.count(name) for name in split.SPLITS}
    return Situation(images, shorter_side(dataset), allotment, cluster, Timer(allotment.threads, say), elapsed_seconds)


def shorter_side(dataset: Dataset) -> int:
    """Return the shorter side of a typical image in pixels: the median of a few images, evenly spread.

    An image that cannot be read is skipped, because packing reports all such images.
    """
    every = max(len(dataset.samples) // SAMPLED, 1)
    sides = []
    for sample in dataset.samples[::every][:SAMPLED]:
        with suppress(DataError):
            sides.append(min(sample.image().shape[:2]))
    return round(statistics.median(sides)) if sides else 0


def check_objective(spec: Spec, classes: int) -> None:
    """Raise SpecError if an objective is not measured on this dataset: no trial would ever have a score."""
    each = metrics.Counts(torch.ones(1, classes, 4, dtype=torch.int64), torch.ones(1, classes, 3, dtype=torch.float64))
    allowed = [f"val_{name}" for name in ("loss", *metrics.scores(each))]
    for metric in (objective.metric for objective in spec.objectives):
        if metric not in (*allowed, *COSTS):
            problem = f"{metric!r} is not measured on {spec.dataset}{did_you_mean(metric, allowed)}"
            raise SpecError("spec", "objective.metric", f"{problem} (allowed: {', '.join(allowed)})")


def check_costs(spec: Spec, allotment: Allotment) -> None:
    """Raise SpecError if the budget or an objective is GPU time but there is no GPU."""
    if spec.budget and budget.parse(spec.budget).unit == "GPU-hours" and not allotment.gpus_per_worker:
        raise SpecError("spec", "budget", f"{spec.budget!r} given, but there is no GPU; give hours, as in 2h")
    if "gpu_seconds" in (objective.metric for objective in spec.objectives) and not allotment.gpus_per_worker:
        problem = "'gpu_seconds' is 0 for every trial where there is no GPU; use train_seconds"
        raise SpecError("spec", "objective.metric", problem)


def this_machine() -> Cluster:
    # Linux counts the cores that this process may use. Other systems have no such call.
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Cluster((Machine(cpus=cpus, gpus=torch.cuda.device_count()),))


def weights_folder(data_dir: Path, weights_dir: Path | None) -> Path:
    """Return the folder where encoder weights are looked for, and downloaded to."""
    return weights_dir or data_dir / "weights"


def encoder_weights(spec: Spec, data_dir: Path, weights_dir: Path | None) -> Path | None:
    """Make sure that all encoder weights that trials will load are there and fit. Return their folder.

    Missing files are downloaded once. Returns None if every encoder starts from scratch.
    """
    if spec.encoder.weights == "none":
        return None
    folder = weights_folder(data_dir, weights_dir).resolve()
    for name in spec.models:
        models.build(name, classes=2, weights_dir=folder)
    return folder
