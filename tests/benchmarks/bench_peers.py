"""A trial of ours over the same trial as people train it today, on real dermoscopy at 128 pixels.

    python tests/benchmarks/bench_peers.py [--rounds N] [--epochs N] [--batch-size N] [--threads N]

Same model, weights, images, batch, epochs, optimiser and threads; the peer's model is written as its report
describes it. Each side is a process of its own, in turn, round by round; what is timed begins before the model is
built, with PyTorch imported, and ends with the last validation. Ours reads a pack that was made before, as every trial
of a study but the first does. The peers' memory layout, precision and loader are tuned first.

Needs isic2016 and mobilenet_v2.pth under $STUDY_DATA or ../shared/data.
"""

import argparse
import dataclasses
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import figures
import peers
import torch
from as_published import published

from seg import augment, batches, data, loop, metrics, models, pack
from seg.device import features
from seg.experiment import Experiment
from seg.options import AUGMENTATIONS

ROOT = Path(__file__).parents[2]
STUDYS = {"MALLOC_ARENA_MAX": "1"}
"""What a study's workers have in their environment, see study.lanes.cluster."""
IMAGE_SIZE = 128
TRIALS = {
    "fine-tuned": {"encoder_freeze": False, "encoder_lr": 1e-4},
    "frozen": {"encoder_freeze": True},
}


def data_dir() -> Path:
    return Path(os.environ.get("STUDY_DATA") or ROOT.parent / "shared" / "data")


def experiment(given: argparse.Namespace) -> Experiment:
    return Experiment(
        dataset="isic2016",
        image_size=IMAGE_SIZE,
        model=given.model,
        loss="bce",
        epochs=given.epochs,
        decoder_lr=1e-2,
        batch_size=given.batch_size,
        optimizer="adam",
        schedule="cosine",
        augment="flips",
        **TRIALS[given.trial],
    )


def ours(given: argparse.Namespace) -> dict[str, Any]:
    """Two trials, one after the other: of frozen encoders the second finds all features that the first kept."""
    packed = pack.open_pack(given.pack, verify=False)
    found: dict[str, Any] = {"seconds": []}

    def train() -> None:  # in a thread, as Ray Train's workers train
        device, limit = figures.device(), 2e9
        with tempfile.TemporaryDirectory(dir=features.default_root(limit).parent) as empty:
            kept = features.FeatureStore(limit, device, Path(empty))
            resident = dataclasses.replace(loop.load(packed, device), features=kept)
            for _ in range(2 if given.trial == "frozen" else 1):
                began = time.perf_counter()
                *_, last = loop.epochs(loop.start(experiment(given), resident, device, data_dir() / "weights"))
                found["seconds"].append(time.perf_counter() - began)
                found["iou"] = last.row["val_iou"]

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    return found


def peer(given: argparse.Namespace) -> dict[str, Any]:
    files = peers.files(data.load("isic2016", data_dir()))
    torch.zeros(1, device=figures.device()).cpu()  # a GPU is awake then, as it is for ours
    began = time.perf_counter()
    model = published(models.build(given.model, 2, data_dir() / "weights"))
    iou = peers.train(
        model.to(figures.device()),
        files,
        experiment(given),
        peers.Tuning(*given.tuning),
        given.model.startswith("smp:"),
    )
    return {"seconds": [time.perf_counter() - began], "iou": iou}


def data_work_of_ours(given: argparse.Namespace) -> dict[str, Any]:
    """Of one epoch's training: everything but forward, backward and optimiser; scores of the training images too."""
    resident, chosen = loop.load(pack.open_pack(given.pack, verify=False), figures.device()), experiment(given)
    device, weights = figures.device(), torch.ones(len(resident.train))
    logits = torch.randn(chosen.batch_size, 1, IMAGE_SIZE, IMAGE_SIZE, device=device)
    seconds = []
    for epoch in range(1, 6):
        began = time.perf_counter()
        plan = batches.plan_epoch(weights, chosen.batch_size, 0, epoch, 0, 1, device)
        for step, (images, masks) in enumerate(resident.train.in_turn(plan.indices())):
            draws_ND = plan.batch(step).draws_ND
            images, masks = augment.apply(AUGMENTATIONS[chosen.augment], images, masks, draws_ND)
            batches.normalise(images, chosen.normalize)
            counts = metrics.count(loop.predict_classes(logits[: len(images)]), masks.long(), 2)
        counts.cpu()  # a GPU has done it all then
        seconds.append(time.perf_counter() - began)
    return {"seconds": [statistics.median(seconds)]}


def data_work_of_peer(given: argparse.Namespace) -> dict[str, Any]:
    """The loader alone, in this process: what its workers do at the same time costs the same."""
    found = peers.files(data.load("isic2016", data_dir()))["train"]
    images = peers.loader(found, experiment(given), True, peers.Tuning())
    began = time.perf_counter()
    for _ in images:
        pass
    return {"seconds": [time.perf_counter() - began]}


SIDES = {"ours": ours, "peer": peer, "our data": data_work_of_ours, "peer's data": data_work_of_peer}


def run(side: str, given: argparse.Namespace, **changes: Any) -> dict[str, Any]:
    told = json.dumps(vars(given) | changes)
    environment = os.environ | (STUDYS if side.startswith("our") else {})
    done = subprocess.run([sys.executable, __file__, side, told], stdout=subprocess.PIPE, env=environment, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def tuned(given: argparse.Namespace, trial: str, model: str) -> peers.Tuning:
    """How two epochs are fastest: the memory layout and precision first, then the number of the loader's workers."""
    seconds: dict[peers.Tuning, float] = {}

    def best(tunings: Iterable[peers.Tuning]) -> peers.Tuning:
        for tuning in tunings:
            if tuning not in seconds:
                told = {"trial": trial, "model": model, "epochs": 2, "tuning": dataclasses.astuple(tuning)}
                (seconds[tuning],) = run("peer", given, **told)["seconds"]
                print(f"{model} {trial}, two epochs of the peer's: {seconds[tuning]:.1f} s with {tuning}", flush=True)
        return min(seconds, key=lambda tuning: seconds[tuning])

    layouts = itertools.product((False, True), ("fp32", "bf16"))
    found = best(peers.Tuning(0, *layout) for layout in layouts)
    return best(dataclasses.replace(found, workers=workers) for workers in sorted({1, 2, peers.CORES}))


def measure(given: argparse.Namespace) -> None:
    given.pack = str(pack.build(data.load("isic2016", data_dir()), IMAGE_SIZE).folder)
    cases = [("fine-tuned", "mobilenetv2_skip"), ("frozen", "mobilenetv2_skip"), ("fine-tuned", given.library)]
    goals = [1.6, 3.0, None]
    for (trial, model), goal in zip(cases, goals, strict=True):
        tuning = tuned(given, trial, model)
        told = {"trial": trial, "model": model, "tuning": dataclasses.astuple(tuning)}
        rounds = []
        for number in range(given.rounds):
            sides = ("ours", "peer") if number % 2 else ("peer", "ours")
            rounds.append({side: run(side, given, **told) for side in sides})
        for which in range(len(rounds[0]["ours"]["seconds"])):
            ratios = [one["peer"]["seconds"][0] / one["ours"]["seconds"][which] for one in rounds]
            later = ", features kept by an earlier trial" if which else ""
            figures.save(
                {
                    f"trial of {given.epochs} epochs, {model} {trial}{later}, peer over ours": {
                        "value": statistics.median(ratios),
                        "goal": goal,
                        "ratios": ratios,
                        "seconds_ours": [one["ours"]["seconds"][which] for one in rounds],
                        "seconds_peer": [one["peer"]["seconds"][0] for one in rounds],
                        "iou_ours": rounds[0]["ours"]["iou"],
                        "iou_peer": rounds[0]["peer"]["iou"],
                        "peer": dataclasses.asdict(tuning),
                    }
                }
            )
    ratios = []
    for _ in range(given.rounds):
        theirs, mine = (run(side, given)["seconds"][0] for side in ("peer's data", "our data"))
        ratios.append(theirs / mine)
    figures.save(
        {"data work of an epoch, peer over ours": {"value": statistics.median(ratios), "goal": 30.0, "ratios": ratios}}
    )


def main() -> int:
    if len(sys.argv) == 3 and sys.argv[1] in SIDES:
        given = argparse.Namespace(**json.loads(sys.argv[2]))
        torch.set_num_threads(given.threads)
        print(json.dumps(SIDES[sys.argv[1]](given)))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--library", default="smp:Unet:mobilenet_v2", help="segmentation_models_pytorch's model")
    given = parser.parse_args()
    if not (data_dir() / "isic2016").is_dir():
        print(f"skipped: no isic2016 in {data_dir()}; name its folder in STUDY_DATA")
        return 0
    given.trial, given.model, given.tuning = "fine-tuned", "mobilenetv2_skip", dataclasses.astuple(peers.Tuning())
    measure(given)
    return 0


if __name__ == "__main__":
    sys.exit(main())
