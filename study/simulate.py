"""Simulate a study: the search, scheduler, records and store of a real one, on lanes that train nothing.

    python -m study.simulate SPEC [--lanes N] [--trials N] [--seed N] [--curves model|STUDY|FILE] [--storage URI] ...

A virtual clock jumps from one event to the next, so that days of two hundred GPUs take minutes here. What is left is a
study like any other, called simulated wherever it is shown. At its end it is checked: every trial has ended once, no
epoch is there twice, no lane was idle while trials waited. Exit status: 0, 2 bad input, 1 where a check failed.
"""

import argparse
import resource
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from study import ls, names, run
from study.arguments import ArgumentParser, at_least_one
from study.redact import redact, redact_crashes
from study.spec import load_spec
from study.store import Store

if TYPE_CHECKING:
    from study.simulation.study import SimulatedStudy

SHOWN_SECONDS = 5.0
"""Between two lines of progress."""
MOST = 10
"""Violations that are told."""


def parser() -> ArgumentParser:
    p = ArgumentParser(prog="python -m study.simulate", description="Simulate a study.", allow_abbrev=False)
    p.add_argument("spec", metavar="SPEC", help="a bundled study or a YAML file, as of study.run")
    p.add_argument("--lanes", type=at_least_one, default=8, metavar="N", help="trials side by side (default: 8)")
    p.add_argument("--trials", type=at_least_one, metavar="N", help="baselines included")
    p.add_argument("--epochs", type=at_least_one, metavar="N", help="of a trial that is not stopped early")
    p.add_argument("--seed", type=int, metavar="N", help="of the search and of all that happens (default: the spec's)")
    p.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="any key, as of study.run")
    p.add_argument("--curves", default="model", metavar="X", help="learning curves: model (default), a study, a file")
    p.add_argument("--storage", default="./studies", metavar="URI", help="folder or s3://bucket/prefix of studies")
    p.add_argument("--name", help="of the simulated study (default: simulated, spec and time)")
    p.add_argument(
        "--failures", type=_share, default=0.02, metavar="F", help="share of trials that crash (model: 0.02)"
    )
    p.add_argument("--stragglers", type=_share, default=0.05, metavar="F", help="share of lanes that are slow (0.05)")
    p.add_argument("--node-losses", type=_rate, default=1.0, metavar="F", help="of 8 lanes each, a day (1)")
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
    return run.status_of(lambda: _simulate(given))


def _simulate(given: argparse.Namespace) -> int:
    study = _begin(given)
    shown = time.monotonic()
    for _ in study.events():
        if time.monotonic() - shown > SHOWN_SECONDS:
            shown = time.monotonic()
            print(f"  {study.summary()}", flush=True)
    violations = study.finish()
    ls.show(study.store, top=5)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{study.summary()}\n{study.costs()}\npeak memory of this process: {memory:.2f} GiB")
    return _tell(violations)


def _begin(given: argparse.Namespace) -> "SimulatedStudy":
    from study.simulation.faults import Faults
    from study.simulation.recorded import CurvesError
    from study.simulation.source import curves
    from study.simulation.study import SimulatedStudy

    overrides = {"trials": given.trials, "epochs": given.epochs, "seed": given.seed}
    spec = load_spec(given.spec, [*given.set, *(f"{key}={v}" for key, v in overrides.items() if v is not None)])
    if spec.budget or len(spec.objectives) > 1:
        raise run.InputError(
            "budget, objective: simulated trials have a score and cost nothing; give one, and no budget"
        )
    store = _store(given)
    try:
        courses = curves(given.curves, spec, spec.seed, given.failures)
    except (FileNotFoundError, CurvesError) as error:
        raise run.InputError(f"--curves {error}") from error
    faults = Faults(given.stragglers, given.node_losses)
    study = SimulatedStudy(spec, store, courses, given.lanes, faults, source=given.curves)
    if not study.create():
        raise run.InputError(f"{store.uri}: a study of this name exists; take another --name")
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
        raise run.InputError(f"--name {name!r}: must be {names.RULE}; --storage says where the study lies")
    storage = given.storage.rstrip("/") if "://" in given.storage else str(Path(given.storage).resolve())
    store = Store(f"{storage}/{name}")
    store.check_writable()
    return store


def _tell(violations: list[str]) -> int:
    for line in violations[:MOST]:
        print(f"violated: {line}", file=sys.stderr)
    if len(violations) > MOST:
        print(f"and {len(violations) - MOST} more", file=sys.stderr)
    if violations:
        return run.FAILED
    print("checked: every trial ended once, no epoch twice, no lane idle while trials waited")
    return run.OK


if __name__ == "__main__":
    redact_crashes()
    sys.exit(main())
