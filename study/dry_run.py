"""The plan of a study before it starts: `python -m study.run SPEC --dry-run`. Nothing of Ray is started."""

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from seg import data, models, split
from seg.data import Dataset
from study import space
from study.preparation import check_objective, weights_folder
from study.progress import duration
from study.redact import redact
from study.resources import Allotment, Cluster, allot
from study.spec import Spec
from study.store import Store

TIMED_STEPS = 4
"""The fastest counts: the first ones warm up, and other programs may run beside."""


def show(spec: Spec, store: Store, data_dir: Path, weights_dir: Path | None, cluster: Cluster) -> None:
    """Print trials, epochs, lanes, data, search space and an estimated time. Raises what `prepare` would raise,
    MissingData instead of downloading."""
    dataset = data.load(spec.dataset, data_dir, download=False)
    check_objective(spec, dataset.classes)
    allotment = allot(spec, cluster)
    images = _images(dataset)
    lines = {
        "study": redact(store.uri),
        "data": f"{dataset.name}: {', '.join(f'{count} {name}' for name, count in images.items())} images"
        + (f" ({dataset.remark})" if dataset.remark else ""),
        "image size": f"{spec.image_size} px",
        "encoder weights": weights_there(spec, weights_folder(data_dir, weights_dir)),
        "trials": f"{spec.trials}, of which {len(spec.baselines)} published baselines",
        "epochs": f"{spec.epochs} a trial",
        "early stopping": _stopping(spec),
        "objective": f"{spec.objective.mode} {spec.objective.metric} on the validation split",
        "finalists": finalists(spec),
        "machines": str(cluster),
        "lanes": str(allotment),
        "estimated time": _estimate(spec, images, allotment),
    }
    for title, text in lines.items():
        print(f"{title:15s} {text}")
    for place, line in enumerate(space.describe(spec)):
        print(f"{'search space' if place == 0 else '':15s} {line}")
    print("nothing was started; leave --dry-run out to start")


def weights_there(spec: Spec, folder: Path) -> str:
    """Which of the files that some trial will load are there."""
    files = {models.weights_file(name) for name in spec.models} - {None}
    if spec.encoder.weights == "none" or not files:
        return "none: trained from scratch"
    missing = sorted(str(name) for name in files if not (folder / str(name)).exists())
    found = f"{len(files) - len(missing)} of {len(files)} files in {folder}"
    return found + (f"; {', '.join(missing)} will be downloaded there" if missing else "")


def _images(dataset: Dataset) -> dict[str, int]:
    assigned = list(split.assign(dataset.samples).values())
    return {name: assigned.count(name) for name in ("train", "val", "test")}


def finalists(spec: Spec) -> str:
    again = spec.finalists.replicates
    seeds = f"; the best are trained with {spec.finalists.seeds} seeds: {again} trials more" if again else ""
    return f"{spec.finalists.top}, and finished baselines, on the sealed test split{seeds}"


def _stopping(spec: Spec) -> str:
    if spec.early_stopping.scheduler == "none":
        return "none"
    rungs = ", ".join(map(str, _rungs(spec)))
    keep = spec.early_stopping.reduction_factor
    return f"{spec.early_stopping.scheduler}: at epoch {rungs} only the best 1/{keep} so far go on"


def _rungs(spec: Spec) -> Iterator[int]:
    rung = spec.early_stopping.min_epochs
    while rung < spec.epochs:
        yield rung
        rung *= spec.early_stopping.reduction_factor


def _estimate(spec: Spec, images: dict[str, int], allotment: Allotment) -> str:
    """From a few timed training steps of each architecture on this machine, one lane's threads; each is taken to have
    its share of the trials."""
    pace = statistics.mean(seconds_per_image(name, spec.image_size, allotment.threads) for name in spec.models)
    # Validation costs about a third of a training step an image: no backward pass.
    epoch_seconds = pace * (images["train"] + images["val"] / 3)
    full, least = (count * epoch_seconds / allotment.lanes for count in (epochs_at_most(spec), epochs_at_least(spec)))
    between = f"between {duration(least)} (every trial stopped as early as it can be) and "
    return (between if least < full else "") + f"{duration(full)} (none stopped), timed on this machine"


def epochs_at_most(spec: Spec) -> float:
    """Of all trials, seed replicates included."""
    return (spec.trials + spec.finalists.replicates) * spec.epochs


def epochs_at_least(spec: Spec) -> float:
    """Of all trials where each rung lets only its share through; replicates are never stopped."""
    again = spec.finalists.replicates * spec.epochs
    if spec.early_stopping.scheduler == "none":
        return spec.trials * spec.epochs + again
    total, before, alive = float(again), 0, float(spec.trials)
    for rung in [*_rungs(spec), spec.epochs]:
        total += alive * (rung - before)
        before, alive = rung, max(alive / spec.early_stopping.reduction_factor, 1)
    return total


def seconds_per_image(model_name: str, image_size: int, threads: int, batch_size: int = 16) -> float:
    """Forward and backward pass of one image in a batch, encoder trained."""
    torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = models.build(model_name, classes=2).to(device)
    images = torch.rand(batch_size, 3, image_size, image_size, device=device)
    return min(_step_seconds(model, images) for _ in range(TIMED_STEPS)) / batch_size


def _step_seconds(model: torch.nn.Module, images_N3HW: torch.Tensor) -> float:
    began = time.perf_counter()
    model(images_N3HW).mean().backward()
    if images_N3HW.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - began
