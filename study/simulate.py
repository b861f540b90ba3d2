"""Simulate a study: the search, scheduler, records, and store of a real one, on lanes that train nothing.

    python -m study.simulate SPEC [--lanes N] [--trials N] [--seed N] [--curves model|STUDY|FILE] [--storage URI] ...

A virtual clock jumps from one event to the next, so that days of two hundred GPUs take minutes here. The result is a
study like any other, called simulated wherever it is shown. At its end it is checked: every trial ended once, no epoch
occurs twice, no lane was idle while trials waited. Exit status: 0, 2 bad input, 1 if a check failed.
"""

import argparse
import resource
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from seg import cli
from seg.cli import ArgumentParser, at_least_one
from seg.errors import UserError, redact
from study.driver import leaderboard
from study.spec import load_spec
from study.store import Store, names
from study.store.retries import NotStored

if TYPE_CHECKING:
    from study.simulation.study import SimulatedStudy

SUMMARY_SECONDS = 5.0
"""Seconds between two lines of progress."""
MAX_VIOLATIONS_SHOWN = 10
"""The most violations that are printed."""


def parser() -> ArgumentParser:
    description = "Run a study's search on simulated lanes; nothing is trained."
    p = ArgumentParser("study.simulate", description, "isic --lanes 200 --trials 10000 --seed 1")
    p.add_argument("spec", metavar="SPEC", help="a bundled study or a YAML file, as of study.run")
    p.add_argument(
        "--lanes", type=at_least_one, default=8, metavar="N", help="trials side by side (default: %(default)s)"
    )
    p.add_argument("--trials", type=at_least_one, metavar="N", help="baselines included")
    p.add_argument("--epochs", type=at_least_one, metavar="N", help="of a trial that is not stopped early")
    p.add_argument("--seed", type=int, metavar="N", help="of the search and of all that happens (default: the spec's)")
    p.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="any key, as of study.run")
    p.add_argument(
        "--curves", default="model", metavar="X", help="learning curves: model, a study, a file (default: %(default)s)"
    )
    p.add_argument(
        "--storage", default="./studies", metavar="URI", help="folder or s3://... of studies (default: %(default)s)"
    )
    p.add_argument("--name", metavar="NAME", help="of the simulated study (default: simulated, spec and time)")
    faults = p.add_argument_group("what goes wrong")
    crash = "share of trials that crash with the model's curves (default: %(default)s)"
    faults.add_argument("--failures", type=_share, default=0.02, metavar="F", help=crash)
    slow = "share of lanes that are slow (default: %(default)s)"
    faults.add_argument("--stragglers", type=_share, default=0.05, metavar="F", help=slow)
    lost = "nodes of 8 lanes lost in a day (default: %(default)s)"
    faults.add_argument("--node-losses", type=_rate, default=1.0, metavar="F", help=lost)
    return p


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} given; must be between 0 and 1")
    return value


def _rate(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} given; must be 0 or more")
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    return cli.status_of(lambda: _simulate(given))


def _simulate(given: argparse.Namespace) -> int:
    study = _begin(given)
    shown = time.monotonic()
    for _ in study.events():
        if time.monotonic() - shown > SUMMARY_SECONDS:
            shown = time.monotonic()
            print(f"  {study.summary()}", flush=True)
    violations = study.finish()
    leaderboard.show(study.store, top=5)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{study.summary()}\n{study.costs()}\npeak memory of this process: {memory:.2f} GiB")
    return _tell(violations)


def _begin(given: argparse.Namespace) -> "SimulatedStudy":
    from study.simulation.lanes import Faults
    from study.simulation.recorded import CurvesError, curves
    from study.simulation.study import SimulatedStudy

    overrides = {"trials": given.trials, "epochs": given.epochs, "seed": given.seed}
    spec = load_spec(given.spec, [*given.set, *(f"{key}={v}" for key, v in overrides.items() if v is not None)])
    if spec.budget or len(spec.objectives) > 1:
        raise UserError("budget, objective: simulated trials have a score and cost nothing; give one, and no budget")
    store = _store(given)
    try:
        courses = curves(given.curves, spec, spec.seed, given.failures)
    except (NotStored, CurvesError) as error:
        raise UserError(f"--curves {error}") from error
    faults = Faults(given.stragglers, given.node_losses)
    study = SimulatedStudy(spec, store, courses, given.lanes, faults, source=given.curves)
    if not study.create():
        raise UserError(f"{store.uri}: a study of this name exists; take another --name")
    print(
        f"simulated study {redact(store.uri)}: {spec.trials} trials, {given.lanes} lanes, nothing is trained",
        flush=True,
    )
    return study


def _store(given: argparse.Namespace) -> Store:
    name = given.name
    if name is None:
        name = names.study_name(f"simulated-{Path(given.spec).stem}-{datetime.now():%Y%m%d-%H%M%S}")
    elif not names.is_study_name(name):
        raise UserError(f"--name {name!r}: must be {names.RULE}; --storage says where the study lies")
    storage = given.storage.rstrip("/") if "://" in given.storage else str(Path(given.storage).resolve())
    store = Store(f"{storage}/{name}")
    store.check_writable()
    return store


def _tell(violations: list[str]) -> int:
    for line in violations[:MAX_VIOLATIONS_SHOWN]:
        print(f"violated: {line}", file=sys.stderr)
    if len(violations) > MAX_VIOLATIONS_SHOWN:
        print(f"and {len(violations) - MAX_VIOLATIONS_SHOWN} more", file=sys.stderr)
    if violations:
        return cli.FAILED
    print("checked: every trial ended once, no epoch twice, no lane idle while trials waited")
    return cli.OK


if __name__ == "__main__":
    sys.exit(main())
