"""What a warm lane saves: a trial's start against one TorchTrainer a trial; its images/s against the bare loop.

    python tests/benchmarks/bench_lanes.py [--trials N] [--epochs N] [--image-size PX]

Both sides of each ratio run in this process's one Ray session, in turn, on the same resident synthetic images.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch

from seg import data, loop, pack
from seg.experiment import Experiment
from study.cluster import ray_session
from study.messages import LaneSettings, StartTrial, TrainEpoch
from study.objective import Objective
from study.resources import Cluster, Machine
from study.worker_group import WorkerGroup

RESULTS = Path(__file__).parent / "results"


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
                scaling_config=ray.train.ScalingConfig(num_workers=1, resources_per_worker={"CPU": 1}),
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


def epoch_seconds(group: WorkerGroup, chosen: Experiment, settings: LaneSettings) -> tuple[list[float], list[float]]:
    """Wall time of each epoch, validation and checkpoint included: through the lane, and bare; in turn."""
    torch.set_num_threads(settings.threads)
    device = torch.device("cpu")
    resident = loop.load(pack.open_pack(settings.pack_folder, verify=False), device)
    results = loop.epochs(loop.start(chosen, resident, device))
    group.answer(group.post(StartTrial(10_000, chosen.to_json())), "a trial begins")
    through_lane, bare = [], []
    for _ in range(chosen.epochs):
        began = time.perf_counter()
        group.answer(group.post(TrainEpoch()), "an epoch")
        through_lane.append(time.perf_counter() - began)
        began = time.perf_counter()
        next(results)
        bare.append(time.perf_counter() - began)
    return through_lane[1:], bare[1:]  # the first one warms up


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=3, help="starts of each kind")
    parser.add_argument("--epochs", type=int, default=14, help="of the throughput comparison")
    parser.add_argument("--image-size", type=int, default=128)
    given = parser.parse_args()
    packed = pack.build(data.load("phantom", Path("data")), given.image_size, pack.default_root())
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder, ray_session(Cluster((Machine(os.cpu_count() or 1, 0),))):
        objective = Objective("val_iou", "max")
        settings = LaneSettings(
            folder, str(packed.folder), None, objective, workers=1, gpus_per_worker=0, threads=threads
        )
        began = time.perf_counter()
        group = WorkerGroup(settings, folder)
        chosen = experiment(given.image_size, given.epochs)
        lane_start_seconds(group, 1, chosen)
        once = time.perf_counter() - began
        starts = lane_start_seconds(group, given.trials * 5, chosen)
        documented = documented_start_seconds(given.trials, chosen, settings)
        lane_epochs, bare_epochs = epoch_seconds(group, chosen, settings)
        group.stop()
    figures = {
        "lane_own_start_seconds": once,
        "trial_start_on_lane_seconds": statistics.median(starts),
        "trial_start_on_lane_seconds_worst": max(starts),
        "trial_start_documented_seconds": statistics.median(documented),
        "start_ratio_documented_to_lane": statistics.median(documented) / statistics.median(starts),
        "epoch_through_lane_seconds": statistics.median(lane_epochs),
        "epoch_bare_seconds": statistics.median(bare_epochs),
        "speed_ratio_lane_to_bare": statistics.median(bare_epochs) / statistics.median(lane_epochs),
    }
    for name, value in figures.items():
        print(f"{name:40s} {value:10.3f}")
    device = f"cpu{torch.get_num_threads()}-{platform.machine()}"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{date.today()}-lanes-{device}.json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
