"""What must be there before lanes start: the data as a pack, the encoder weights, room on the machine."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from seg import data, models, pack
from seg.pack import Pack
from study import space
from study.resources import Allotment, Machine, allot
from study.spec import Spec


@dataclass(frozen=True)
class Prepared:
    data_dir: Path
    weights_dir: Path | None
    """None where every encoder starts from scratch."""
    pack: Pack
    machine: Machine
    allotment: Allotment

    def summary(self) -> str:
        return describe_pack(self.pack)


def describe_pack(packed: Pack) -> str:
    images = ", ".join(f"{len(packed.indices(split))} {split}" for split in ("train", "val", "test"))
    synthetic = "SYNTHETIC " if packed.synthetic else ""
    remark = f" ({packed.remark})" if packed.remark else ""
    return f"{synthetic}{packed.dataset}{remark}, {images} images at {packed.image_size} px"


def prepare(spec: Spec, data_dir: Path, weights_dir: Path | None, machine: Machine) -> Prepared:
    """ResourceError, WeightsError or DataError where something is missing; the quick checks come first."""
    allotment = allot(spec, machine)
    found_weights = _weights(spec, data_dir, weights_dir)
    packed = pack.build(data.load(spec.dataset, data_dir), spec.image_size, pack.default_root())
    return Prepared(data_dir.resolve(), found_weights, packed, machine, allotment)


def this_machine() -> Machine:
    # Linux counts the cores this process may use; elsewhere there is no such call.
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine(cpus=cpus, gpus=torch.cuda.device_count())


def _weights(spec: Spec, data_dir: Path, weights_dir: Path | None) -> Path | None:
    """Every file that some trial will load is there, downloaded once, and fits, before any lane asks for it."""
    if spec.encoder.weights == "none":
        return None
    folder = (weights_dir or data_dir / "weights").resolve()
    names = {*spec.search.model, *(experiment.model for _, experiment in space.baselines(spec))}
    for name in sorted(names):
        models.build(name, classes=2, weights_dir=folder)
    return folder
