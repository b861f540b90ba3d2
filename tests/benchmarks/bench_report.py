"""Table and report of large studies, from generated records: seconds, memory, and the size of the page.

    python tests/benchmarks/bench_report.py [--trials N N ...] [--epochs N] [--s3]

Each is a command of its own, from the first import to the last byte; the median of three, all of which are kept: the
first reads what a server has only just been sent. With --s3 the same from a server on this machine.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import figures
import memory
import numpy as np
import s3fs

sys.path.insert(0, str(Path(__file__).parents[1]))
from generated import BASELINES, SPACE, study_json
from s3_server import BUCKET, S3Server

from study.store import Store
from study.store.records import Record, State, write_record

GOALS = {("table", 1000): 3.0, ("report", 1000): 10.0, ("table", 10_000): 30.0, ("report", 10_000): 60.0}
LIMIT_GIB, LIMIT_MB = 2.0, 8.0
ROUNDS = 3


def made(trial: int, epochs: int) -> Record:
    """One of five is stopped early, one of a hundred failed."""
    rng = np.random.default_rng(trial)
    rung = int(rng.choice([epochs // 5, epochs], p=[0.8, 0.2])) if trial >= len(BASELINES) else epochs
    ran = 0 if rng.random() < 0.01 else rung
    state = State.FAILED if not ran else State.PRUNED if ran < epochs else State.COMPLETE
    frozen, weighted = bool(rng.random() < 0.5), bool(rng.random() < 0.5)
    experiment = {
        "dataset": "phantom",
        "image_size": 64,
        "model": str(rng.choice(SPACE["model"])),
        "loss": "dice_bce" if weighted else "bce",
        "loss_parameters": {"dice_weight": float(10 ** rng.uniform(-1, 0.3))} if weighted else {},
        "epochs": epochs,
        "decoder_lr": float(10 ** rng.uniform(-4, -1)),
        "encoder_lr": None if frozen else float(10 ** rng.uniform(-5, -2)),
        "encoder_freeze": frozen,
        "oversample": float(rng.choice(SPACE["oversample"])),
        "batch_size": 16,
        "augment": "flips",
        "seed": 0,
    }
    reached = 0.6 + 0.1 * rng.random() - 0.4 * np.exp(-np.arange(1, ran + 1) / 6) + 0.01 * rng.standard_normal(ran)
    rows = [row(epoch, float(iou)) for epoch, iou in enumerate(reached, 1)]
    began = 7 * (trial // 200)
    return Record(
        trial,
        f"{trial:08x}",
        state,
        BASELINES.get(trial, "search"),
        experiment,
        reason="training loss is nan in epoch 1" if not ran else "",
        started=moment(began),
        finished=moment(began + 5),
        epochs=rows,
        best_epoch=int(reached.argmax()) + 1 if ran else None,
        gpus=1.0,
        device="generated",
        params_trainable=1_000_000 * (1 + trial % 3),
        params_frozen=0,
        extra={"lane": f"large-lane-{trial % 200}", "idle_seconds": 0.1},
    )


def row(epoch: int, iou: float) -> dict[str, float | int | None]:
    scores = {"iou": iou, "dice": 2 * iou / (1 + iou), "pixel_accuracy": 0.9, "sensitivity": 0.8, "specificity": 0.95}
    losses = {"train_loss": 1 / epoch, "train_iou": iou + 0.02, "val_loss": 1.1 / epoch}
    rates = {"encoder_lr": None, "decoder_lr": 1e-3}
    return (
        {"epoch": epoch, **losses, **{f"val_{k}": v for k, v in scores.items()}, "seconds": 2.0}
        | rates
        | {"images_per_second": 50.0}
    )


def moment(minutes: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(1_700_000_000 + 60 * minutes))


def write(store: Store, trials: int, epochs: int) -> None:
    spec = study_json()["spec"] | {"search": SPACE, "image_size": 64}
    store.write_json("study.json", study_json() | {"name": "large", "spec": spec, "finished": moment(0)})
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda trial: write_record(store, made(trial, epochs)), range(trials)))


def timed(command: list[str]) -> float:
    """Seconds."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", *command], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def peak(command: list[str]) -> float:
    """The most GiB that its processes held. Not of a run that is timed: who looks takes time of one of two cores."""
    process = subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.DEVNULL)
    found = memory.watch(process)
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}")
    return found.total / 2**30


def measure(study: str, folder: Path, trials: int, epochs: int, where: str) -> None:
    page = folder / "report.html"
    commands = {
        "table": ["analysis.table", study, "--epochs"],
        "report": ["analysis.report", study, "--out", str(page)],
    }
    for name, command in commands.items():
        seconds = [timed(command) for _ in range(ROUNDS)]
        what = f"{name} of {trials} trials of {epochs} epochs{where}"
        goal = GOALS.get((name, trials))
        figures.save(
            {f"{what}, s": {"value": statistics.median(seconds), "goal": goal, "at_most": True, "all": seconds}}
        )
        figures.save({f"{what}, GiB": {"value": peak(command), "goal": LIMIT_GIB, "at_most": True}})
    size = page.stat().st_size / 1e6
    goal = LIMIT_MB if trials == 1000 else None
    figures.save({f"report of {trials} trials of {epochs} epochs, MB": {"value": size, "goal": goal, "at_most": True}})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--s3", action="store_true", help="from a SeaweedFS on this machine, too")
    given = parser.parse_args()
    for trials in given.trials:
        with tempfile.TemporaryDirectory() as folder:
            one_store(f"{folder}/large", Path(folder), trials, given.epochs, "")
    if given.s3:
        with tempfile.TemporaryDirectory() as folder, s3_server(Path(folder)) as bucket:
            for trials in given.trials:
                one_store(f"{bucket}/large-{trials}", Path(folder), trials, given.epochs, ", S3")


def one_store(study: str, folder: Path, trials: int, epochs: int, where: str) -> None:
    write(Store(study), trials, epochs)
    measure(study, folder, trials, epochs, where)


@contextlib.contextmanager
def s3_server(folder: Path) -> Iterator[str]:
    """A bucket's address, for as long as its server runs."""
    server = S3Server(folder / "s3")
    server.start()
    try:
        os.environ.update(server.environment)
        s3fs.S3FileSystem().mkdir(BUCKET)
        yield f"s3://{BUCKET}"
    finally:
        server.kill()


if __name__ == "__main__":
    main()
