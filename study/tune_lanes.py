"""Find how many lanes keep this machine busiest: train the same trial in 1, 2, ... processes side by side.

    python -m study.tune_lanes SPEC [--data DIR] [--seconds S] [--most N] [--set KEY=VALUE ...]

On GPUs the lanes share the first GPU, each with its part of the memory. On a CPU they divide the threads. The numbers
are compared by training images/s of all lanes together; time spent on validation counts. Nothing they train is kept.
"""

import argparse
import multiprocessing
import os
import queue
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from seg import cli, data, loop, pack
from seg.cli import ArgumentParser, at_least_one
from seg.errors import UserError
from seg.experiment import Experiment
from study.driver import preparation
from study.lanes.worker import feature_bytes, limit_memory
from study.ranking.objective import Objective
from study.spec import Spec, load_spec
from study.spec.conditions import determine, first, published
from study.trials.messages import LaneSettings

SECONDS = 20
MAX_LANES = 8
WORTH = 1.03
"""The speed-up from which a larger number of lanes is better. Each lane costs memory."""
ANSWER_SECONDS = 900.0


class EnoughError(Exception):
    """The time to measure is over."""


@dataclass(frozen=True)
class Lanes:
    """The speed and memory of that many lanes side by side."""

    lanes: int
    threads: int
    images_per_second: float
    gib: float
    """GiB of the lane that held most: of the GPU's memory, or of the machine's memory on a CPU."""


def representative(spec: Spec) -> Experiment:
    """Return an experiment that represents the spec's trials.

    It has the first choice of everything, and a trained encoder if that is allowed. Without a search, it is the first
    baseline.
    """
    return published(spec, spec.baselines[0]) if spec.search is None else determine(spec, first)


def measure(lanes: int, threads: int, job: dict[str, Any]) -> Lanes | str:
    """Measure that many lanes side by side. If that is not possible, return a line that says why."""
    context = multiprocessing.get_context("spawn")
    ready, answers = context.Barrier(lanes), context.Queue()
    job = job | {"lanes": lanes, "threads": threads}
    processes = [context.Process(target=work, args=(job, ready, answers), daemon=True) for _ in range(lanes)]
    for process in processes:
        process.start()
    found: list[tuple[float, float]] = []
    problem = ""
    while len(found) < lanes and not problem:
        try:
            answer = answers.get(timeout=1)
            found, problem = ([*found, answer], "") if isinstance(answer, tuple) else (found, answer)
        except queue.Empty:
            if any(process.exitcode for process in processes):
                problem = "a lane was ended, by want of memory most likely"
    for process in processes:
        process.join(timeout=0 if problem else 60)
        process.kill()
    return problem or Lanes(lanes, threads, sum(rate for rate, _ in found), max(gib for _, gib in found))


def work(job: dict[str, Any], ready: Any, answers: Any) -> None:
    """Run one lane. Put images/s and GiB into `answers`, or what went wrong."""
    try:
        answers.put(_train(job, ready))
    except Exception as error:
        answers.put(f"{type(error).__name__}: {error}".splitlines()[0])
        ready.abort()  # the other lanes end too, and their answers are not read


def _train(job: dict[str, Any], ready: Any) -> tuple[float, float]:
    torch.set_num_threads(job["threads"])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    share = 1 / job["lanes"] if device.type == "cuda" else 0.0
    objective, kept = Objective("val_iou", "max"), job["feature_bytes"]
    settings = LaneSettings("", "", None, objective, 1, share, job["threads"], feature_bytes=kept)
    limit_memory(device, share)
    chosen = Experiment.from_json(job["experiment"])
    packed = pack.open_pack(job["pack"], verify=False)
    resident = loop.load(packed, device, feature_bytes(settings, device))
    images, since = 0, 0.0

    def on_step() -> None:
        nonlocal images
        images += chosen.batch_size * run.model.training
        if since and time.perf_counter() - since > job["seconds"]:
            raise EnoughError

    run = loop.start(chosen, resident, device, job["weights_dir"] and Path(job["weights_dir"]), on_step=on_step)
    results = loop.epochs(run)
    next(results)  # warms up, and caches the features of a frozen encoder
    ready.wait(ANSWER_SECONDS)
    images, since = 0, time.perf_counter()
    try:
        for _ in results:
            pass
    except EnoughError:
        pass
    return images / (time.perf_counter() - since), _held_gib(device)


def _held_gib(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device) / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def best(found: list[Lanes]) -> Lanes:
    """Return the smallest number of lanes that no other number beats by WORTH."""
    fastest = max(one.images_per_second for one in found)
    return next(one for one in found if one.images_per_second * WORTH >= fastest)


def numbers(most: int, cores: int, on_gpu: bool) -> list[int]:
    """Return the numbers of lanes to try in turn. On a CPU each lane needs at least one core."""
    return [lanes for lanes in (1, 2, 3, 4, 6, 8, 12, 16) if lanes <= (most if on_gpu else min(most, cores))]


def tried(job: dict[str, Any], most: int, cores: int, on_gpu: bool) -> list[Lanes]:
    """Measure each number of lanes in turn, and print a line of the table for each.

    Stops if two numbers in a row bring nothing, or if that many lanes are not possible.
    """
    print("lanes  threads each  images/s  over one lane  GiB each", flush=True)
    found = list[Lanes]()
    for lanes in numbers(most, cores, on_gpu):
        one = measure(lanes, max(cores // lanes, 1), job)
        if isinstance(one, str):
            print(f"{lanes:5d}  not possible: {one}")
            break
        found.append(one)
        ratio = one.images_per_second / found[0].images_per_second
        print(f"{lanes:5d}  {one.threads:12d}  {one.images_per_second:8.0f}  {ratio:13.2f}  {one.gib:8.2f}", flush=True)
        if len(found) > 2 and best(found) not in found[-2:]:
            break
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the command. Return 0 if a number was found, 2 for bad input."""
    options = parser().parse_args(arguments)
    return cli.status_of(lambda: _tune(options))


def _tune(options: argparse.Namespace) -> int:
    spec = load_spec(options.spec, options.set)
    dataset = data.load(spec.dataset, options.data)
    weights_dir = preparation.encoder_weights(spec, options.data, options.weights)
    packed = pack.build(dataset, spec.image_size, pack.default_root())
    chosen = representative(spec)
    job = {
        # More epochs than fit into the time.
        "experiment": chosen.to_json() | {"epochs": 10**6, "encoder_frozen_epochs": 0},
        "pack": str(packed.folder),
        "weights_dir": str(weights_dir) if weights_dir else None,
        "seconds": options.seconds,
        "feature_bytes": spec.resources.feature_bytes,
    }
    os.environ.setdefault("MALLOC_ARENA_MAX", "1")  # as in a study's workers, see study.lanes.cluster
    on_gpu, cores = torch.cuda.is_available(), preparation.this_machine().nodes[0].cpus
    device = torch.cuda.get_device_name() if on_gpu else f"CPU, {cores} cores"
    encoder = "frozen" if chosen.encoder_freeze else "fine-tuned"
    print(f"{chosen.model}, encoder {encoder}, batches of {chosen.batch_size} at {chosen.image_size} px, on {device}")
    found = tried(job, options.most, cores, on_gpu)
    if not found:
        raise UserError("not even one lane could be measured; what stands above is the reason")
    lanes = best(found).lanes
    # Rounded down, because six lanes do not fit if each has a share above 1/6.
    key, value = ("gpus_per_worker", f"{1000 // lanes / 1000:g}") if on_gpu else ("lanes", f"{lanes}")
    where = "on a GPU" if on_gpu else "on this machine"
    print(f"best: {lanes} {where}. In the spec: resources: {{{key}: {value}}}, or --{key.replace('_', '-')} {value}")
    return 0


def parser() -> ArgumentParser:
    description = "Measure how many trials side by side keep this machine busiest."
    p = ArgumentParser("study.tune_lanes", description, "isic --data data", "pets --most 4 --seconds 60")
    p.add_argument("spec", metavar="SPEC", help="a bundled study or a YAML file")
    p.add_argument("--data", type=Path, default=Path("data"), metavar="DIR", help="datasets (default: %(default)s)")
    p.add_argument("--weights", type=Path, metavar="DIR", help="encoder weights (default: DATA/weights)")
    p.add_argument(
        "--seconds", type=float, default=SECONDS, metavar="S", help="to measure each number (default: %(default)s)"
    )
    p.add_argument(
        "--most", type=at_least_one, default=MAX_LANES, metavar="N", help="lanes to try at most (default: %(default)s)"
    )
    p.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any key of the spec, as of study.run"
    )
    return p


if __name__ == "__main__":
    sys.exit(main())
