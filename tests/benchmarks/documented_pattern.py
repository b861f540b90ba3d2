"""A small search by Ray's documented way: a Tuner, whose every trial starts a TorchTrainer of its own.

    python tests/benchmarks/documented_pattern.py PACK --trials N --epochs N --concurrent N

Written after "Hyperparameter Tuning with Ray Tune" in Ray Train's user guide: Tune runs a driver function for each
trial, Train reports to Tune through a callback. Optuna proposes, each epoch is reported with a checkpoint. What a
worker trains is the same as in a study.
"""

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch
from ray import tune
from ray.tune.integration.ray_train import TuneReportCallback
from ray.tune.search.optuna import OptunaSearch

from seg import checkpoint, loop, pack
from seg.experiment import Experiment


def train(config: dict[str, Any]) -> None:
    """On a worker of Ray Train."""
    torch.set_num_threads(config["threads"])
    device = ray.train.torch.get_device()
    resident = loop.load(pack.open_pack(config["pack"], verify=False), device)
    chosen = Experiment(
        dataset="phantom",
        image_size=resident.train.images_MHW3.shape[1],
        model="mobilenetv2_skip",
        loss="bce",
        epochs=config["epochs"],
        encoder_lr=config["encoder_lr"],
        decoder_lr=config["decoder_lr"],
        encoder_weights="none",
    )
    run = loop.start(chosen, resident, device)
    for result in loop.epochs(run):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "checkpoint.safetensors").write_bytes(checkpoint.snapshot(run).to_bytes())
            ray.train.report({"val_iou": result.row["val_iou"]}, checkpoint=ray.train.Checkpoint.from_directory(folder))


def drive(config: dict[str, Any]) -> None:
    """Of one trial of Tune."""
    ray.train.torch.TorchTrainer(
        train,
        train_loop_config=config,
        scaling_config=ray.train.ScalingConfig(num_workers=1, resources_per_worker={"CPU": 1}),
        run_config=ray.train.RunConfig(
            name=f"train-{ray.tune.get_context().get_trial_id()}",
            storage_path=config["storage"],
            callbacks=[TuneReportCallback()],
        ),
    ).fit()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pack")
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--concurrent", type=int, default=1)
    given = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    ray.init(num_cpus=cores + 1, include_dashboard=False)  # the drivers, which only wait, ask for a little too
    with tempfile.TemporaryDirectory() as storage:
        rates = {name: tune.loguniform(1e-4, 1e-2) for name in ("encoder_lr", "decoder_lr")}
        fixed = {"pack": given.pack, "epochs": given.epochs, "storage": storage, "threads": cores // given.concurrent}
        results = tune.Tuner(
            tune.with_resources(drive, {"CPU": 0.1}),
            param_space={**rates, **fixed},
            tune_config=tune.TuneConfig(
                metric="val_iou",
                mode="max",
                num_samples=given.trials,
                search_alg=OptunaSearch(seed=0),
                max_concurrent_trials=given.concurrent,
            ),
            run_config=tune.RunConfig(name="documented", storage_path=storage, verbose=0),
        ).fit()
        print(
            f"{results.num_terminated} trials ended, the best with {results.get_best_result().metrics['val_iou']:.4f}"
        )
    ray.shutdown()


if __name__ == "__main__":
    main()
