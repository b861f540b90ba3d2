"""What a warm lane saves: a trial's start against one TorchTrainer a trial; its images/s against the ceiling.

    python tests/benchmarks/bench_lanes.py [--trials N] [--epochs N] [--image-size PX]

Both sides of each ratio run in this process's one Ray session, in turn, on the same resident synthetic images. The
ceiling is the same step (forward, loss, backward, optimiser) on one fixed batch, again and again.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import figures
import ray
import ray.train
import ray.train.torch
import torch

from seg import batches, data, loop, optim, pack
from seg.device import precision
from seg.experiment import Experiment
from study.lanes.cluster import ray_session
from study.lanes.resources import Cluster, Machine
from study.lanes.worker_group import WorkerGroup
from study.ranking.objective import Objective
from study.trials.messages import LaneSettings, StartTrial, TrainEpoch


def experiment(image_size: int, epochs: int) -> Experiment:
    return Experiment(
        dataset="phantom",
        image_size=image_size,
        model="mobilenetv2_skip",
        loss="bce",
        epochs=epochs,
        encoder_lr=1e-4,
        decoder_lr=1e-2,
        encoder_weights="none",
    )


def lane_start_seconds(group: WorkerGroup, trials: int, chosen: Experiment) -> list[float]:
    """From the command to the trained model's first step, beyond building the model, of each trial on a warm lane."""
    seconds = []
    for trial in range(trials):
        began = time.perf_counter()
        started = group.answer(group.post(StartTrial(trial, chosen.to_json())), "a trial begins")
        seconds.append(time.perf_counter() - began - started.build_seconds)
    return seconds


def documented_start_seconds(trials: int, chosen: Experiment, settings: LaneSettings) -> list[float]:
    """The same through Ray's documented pattern, one TorchTrainer a trial: from fit() to the first step."""
    seconds = []
    for _ in range(trials):
        with tempfile.TemporaryDirectory() as folder:
            note = Path(folder) / "first_step"
            began = time.time()
            ray.train.torch.TorchTrainer(
                _documented_worker,
                train_loop_config={"experiment": chosen.to_json(), "settings": settings, "note": str(note)},
                scaling_config=ray.train.ScalingConfig(
                    num_workers=1, resources_per_worker={"CPU": 1}, use_gpu=settings.gpus_per_worker > 0
                ),
                run_config=ray.train.RunConfig(storage_path=folder),
            ).fit()
            seconds.append(json.loads(note.read_text()) - began)
    return seconds


def _documented_worker(config: dict[str, Any]) -> None:
    torch.set_num_threads(config["settings"].threads)
    device = ray.train.torch.get_device()
    resident = loop.load(pack.open_pack(config["settings"].pack_folder, verify=False), device)
    began = time.time()
    loop.start(Experiment.from_json(config["experiment"]), resident, device)
    build_seconds = time.time() - began
    Path(config["note"]).write_text(json.dumps(time.time() - build_seconds))


def epochs_beside_the_ceiling(
    group: WorkerGroup, chosen: Experiment, settings: LaneSettings
) -> tuple[list[float], list[float], list[float]]:
    """Images/s of each epoch's training through the lane, and of as many steps on one fixed batch; in turn. Then the
    share of an epoch that the lane itself adds: command, checkpoint and all."""
    torch.set_num_threads(settings.threads)
    device = figures.device()
    resident = loop.load(pack.open_pack(settings.pack_folder, verify=False), device)
    run = loop.start(chosen, resident, device)
    group.answer(group.post(StartTrial(10_000, chosen.to_json())), "a trial begins")
    through_lane, ceiling, beside = [], [], []
    for _ in range(chosen.epochs):
        began = time.perf_counter()
        row = group.answer(group.post(TrainEpoch()), "an epoch").row
        beside.append((time.perf_counter() - began) / row["seconds"] - 1)
        through_lane.append(row["images_per_second"])
        ceiling.append(images_per_second_of_one_batch(run))
    return through_lane[1:], ceiling[1:], beside[1:]  # the first one warms up


def images_per_second_of_one_batch(run: loop.Run) -> float:
    plan = batches.plan_epoch(run.weights_N, run.experiment.batch_size, 0, 1, 0, 1, run.device)
    images, masks = run.data.train.take(plan.batch(0).indices)
    images, target = batches.normalise(images, run.experiment.normalize), masks.long()
    optim.train_mode(run.model, run.experiment.encoder_freeze)
    images.cpu()  # a GPU has made them then
    began = time.perf_counter()
    for _ in range(plan.steps):
        with precision.autocast(run.experiment.precision, run.device):
            logits = run.model(images)
        loss = run.loss(logits.float(), target)
        run.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        run.optimizer.step()
    loss.item()  # a GPU has done it all then
    return plan.steps * len(images) / (time.perf_counter() - began)


def main() -> None:
    if "MALLOC_ARENA_MAX" not in os.environ:  # as in a study's workers, see study.lanes.cluster.ray_session
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"MALLOC_ARENA_MAX": "1"})
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=3, help="starts of each kind")
    parser.add_argument("--epochs", type=int, default=14, help="of the throughput comparison")
    parser.add_argument("--image-size", type=int, default=128)
    given = parser.parse_args()
    packed = pack.build(data.load("phantom", Path("data")), given.image_size, pack.default_root())
    threads, gpus = torch.get_num_threads(), torch.cuda.device_count()
    with tempfile.TemporaryDirectory() as folder, ray_session(Cluster((Machine(os.cpu_count() or 1, gpus),))):
        objective = Objective("val_iou", "max")
        settings = LaneSettings(
            folder, str(packed.folder), None, objective, workers=1, gpus_per_worker=min(gpus, 1), threads=threads
        )
        chosen = experiment(given.image_size, given.epochs)
        documented = documented_start_seconds(given.trials, chosen, settings)
        began = time.perf_counter()
        group = WorkerGroup(settings, folder)
        lane_start_seconds(group, 1, chosen)
        once = time.perf_counter() - began
        starts = lane_start_seconds(group, given.trials * 5, chosen)
        lane, ceiling, beside = epochs_beside_the_ceiling(group, chosen, settings)
        group.stop()
    ratios = [one / other for one, other in zip(lane, ceiling, strict=True)]
    figures.save(
        {
            "images/s of a fine-tuning trial on a lane, over the ceiling": {
                "value": statistics.median(ratios),
                "goal": 0.97,
                "ratios": ratios,
                "images_per_second": statistics.median(lane),
                "ceiling": statistics.median(ceiling),
            },
            "an epoch's time on a lane beside training and validation, share": {"value": statistics.median(beside)},
            "a lane's own start, s": {"value": once},
            "a trial's start on a warm lane beside building its model, s": {
                "value": statistics.median(starts),
                "worst": max(starts),
            },
            "a trial's start through a TorchTrainer, over one on a warm lane": {
                "value": statistics.median(documented) / statistics.median(starts),
                "seconds": documented,
            },
        }
    )


if __name__ == "__main__":
    main()
