"""What keeping every epoch's checkpoint on S3 costs: epochs of a worker that sends them, over epochs that keep nothing.

    python tests/benchmarks/bench_store.py [--rounds N] [--epochs N] [--image-size PX] [--threads N]

Both sides train the same experiment on the same resident synthetic images in this process, in turn, round by round.
A real S3 server has cores of its own: so has the one here, the last core of this machine; training, with all that its
process does to send a checkpoint, has the others.
"""

import argparse
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from contextlib import AbstractContextManager, nullcontext
from datetime import date
from pathlib import Path
from typing import Any

import torch

from seg import data, loop, models, pack
from seg.experiment import Experiment
from seg.pack import Pack
from seg.ranks import Ranks
from study.lanes.worker import Worker
from study.ranking.objective import Objective
from study.store import Store
from study.trials.attempt import CHECKPOINT
from study.trials.messages import EpochDone, LaneSettings, StartTrial, TrainEpoch

sys.path.append(str(Path(__file__).parents[1]))
from s3_server import BUCKET, S3Server, pin_threads  # the server of the tests

RESULTS = Path(__file__).parent / "results"


class NoPulse:
    """Outside a lane nobody listens."""

    def beat(self) -> None:
        pass

    def bounded(self) -> AbstractContextManager[None]:
        return nullcontext()


def experiment(image_size: int) -> Experiment:
    return Experiment(
        dataset="phantom",
        image_size=image_size,
        model="mobilenetv2_skip",
        loss="bce",
        epochs=1000,
        encoder_freeze=True,
        decoder_lr=1e-3,
        schedule="constant",
    )


def weights(folder: Path) -> Path:
    """A file of encoder weights, as random as any."""
    state = models.build("mobilenetv2_skip", 2, None).encoder.state_dict(prefix="features.")
    torch.save(state, folder / "mobilenet_v2.pth")
    return folder


def sending(
    packed: Pack, weights_dir: Path, uri: str, chosen: Experiment, epochs: int, trial: int, threads: int
) -> float:
    """Seconds of an epoch whose checkpoint goes to the store, the last one's own sending left to the next."""
    settings = LaneSettings(
        uri, str(packed.folder), str(weights_dir), Objective("val_iou", "max"), 1, 0.0, threads, feature_bytes=0
    )
    worker = Worker(settings, torch.device("cpu"), Ranks(), NoPulse())  # type: ignore[arg-type]
    worker.answer(StartTrial(trial, chosen.to_json()))
    worker.answer(TrainEpoch())
    began = time.perf_counter()
    for _ in range(epochs):
        assert isinstance(worker.answer(TrainEpoch()), EpochDone)
    seconds = (time.perf_counter() - began) / epochs
    worker._writer.flush()
    return seconds


def keeping_nothing(packed: Pack, weights_dir: Path, chosen: Experiment, epochs: int) -> float:
    device = torch.device("cpu")
    results = loop.epochs(loop.start(chosen, loop.load(packed, device), device, weights_dir))
    next(results)
    began = time.perf_counter()
    for _ in range(epochs):
        next(results)
    return (time.perf_counter() - began) / epochs


def interval(ratios: list[float], draws: int = 2000) -> tuple[float, float]:
    """95 % of the medians of `ratios` drawn anew with replacement lie in it (percentile bootstrap)."""
    chance = random.Random(0)
    medians = sorted(statistics.median(chance.choices(ratios, k=len(ratios))) for _ in range(draws))
    return medians[int(0.025 * draws)], medians[int(0.975 * draws)]


def measure(given: argparse.Namespace) -> dict[str, Any]:
    torch.set_num_threads(given.threads)
    packed = pack.build(data.load("phantom", Path("nowhere")), given.image_size, pack.default_root())
    chosen = experiment(given.image_size)
    with tempfile.TemporaryDirectory() as folder:
        weights_dir = weights(Path(folder))
        server = S3Server(Path(folder))
        server.start()
        if len(cores := sorted(os.sched_getaffinity(0))) > 1:
            server.pin(set(cores[-1:]))
            pin_threads(os.getpid(), set(cores[:-1]))
        os.environ |= server.environment
        store = Store(f"s3://{BUCKET}/overhead", 60)
        store._fs.mkdir(BUCKET)
        sent, nothing = [], []
        for trial in range(given.rounds):
            sides = [
                lambda: nothing.append(keeping_nothing(packed, weights_dir, chosen, given.epochs)),
                lambda trial=trial: sent.append(
                    sending(packed, weights_dir, store.uri, chosen, given.epochs, trial, given.threads)
                ),
            ]
            for side in sides if trial % 2 else reversed(sides):  # a machine that slows down slows both
                side()
            print(f"round {trial + 1}: {nothing[-1]:.3f} s an epoch, sent {sent[-1]:.3f} s", flush=True)
        (name,) = (name for name in store.names("trials/00000") if name.startswith(CHECKPOINT))
        size = len(store.read(f"trials/00000/{name}"))
        server.kill()
    ratios = [one / other for one, other in zip(sent, nothing, strict=True)]
    return {
        "epoch_seconds": statistics.median(nothing),
        "epoch_seconds_sent_to_s3": statistics.median(sent),
        "ratio": statistics.median(ratios),
        "interval_95": interval(ratios),
        "ratios": ratios,
        "checkpoint_mb": size / 1e6,
        "threads": given.threads,
        "cores_of_training": len(os.sched_getaffinity(0)),
    }


def main() -> None:
    if "MALLOC_ARENA_MAX" not in os.environ:  # as in a study's workers, see study.lanes.cluster.ray_session
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"MALLOC_ARENA_MAX": "1"})
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=4, help="of a round, on each side")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--threads", type=int, default=max((os.cpu_count() or 1) - 1, 1))
    found = measure(parser.parse_args())
    print(f"checkpoint {found['checkpoint_mb']:.0f} MB, epochs of {found['epoch_seconds']:.2f} s")
    low, high = found["interval_95"]
    print(
        f"sent to S3 over kept nowhere: {found['ratio']:.3f} (median of {len(found['ratios'])} rounds, "
        f"95 % interval {low:.3f} to {high:.3f}; goal: 1.03)"
    )
    RESULTS.mkdir(exist_ok=True)
    device = f"cpu{found['threads']}-{platform.machine()}"
    (RESULTS / f"{date.today()}-store-{device}.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
