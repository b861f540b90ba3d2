"""Run a study.

    python -m study.run SPEC [--data DIR] [--storage URI] [--name NAME] [--trials N] ...

SPEC is a bundled study (--list shows all) or a YAML file in the same format. Exit status: 0 finished, 2 bad input,
130 interrupted (the last line says how to resume), 1 otherwise.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from seg.cli import OK, ArgumentParser, aligned, status_of
from study.driver import start
from study.driver.start import Command
from study.spec import bundled


def parser() -> ArgumentParser:
    description = "Run a study: search, train, score, report. The spec says what is not given."
    p = ArgumentParser("study.run", description, "folder --data photos --budget 10min", "isic --name isic --resume")
    p.add_argument("spec", nargs="?", metavar="SPEC", help="a bundled study (--list) or a YAML file")
    p.add_argument("--list", action="store_true", help="show the bundled studies")
    p.add_argument("--dry-run", action="store_true", help="check everything, print the plan, start nothing")

    places = p.add_argument_group("where things are")
    places.add_argument(
        "--data", type=Path, default=Path("data"), metavar="DIR", help="datasets (default: %(default)s)"
    )
    encoders = "encoder weights (default: DATA/weights, downloaded)"
    places.add_argument("--weights", type=Path, metavar="DIR", help=encoders)
    storage = "folder or s3://... of studies (default: %(default)s)"
    places.add_argument("--storage", default="./studies", metavar="URI", help=storage)
    places.add_argument("--name", metavar="NAME", help="of the study (default: spec and time)")
    places.add_argument("--resume", action="store_true", help="go on with the study of this name")
    mirror = "mirror for optuna-dashboard: sqlite:///F.db, postgresql://..."
    places.add_argument("--optuna-storage", metavar="URL", help=mirror)
    places.add_argument("--no-report", action="store_true", help="do not write report.html at the end")

    plan = p.add_argument_group("what is trained")
    budget = "15min, 2h, 40gpu-hours or 25usd: the plan fits it, and the study ends"
    plan.add_argument("--budget", metavar="B", help=budget)
    plan.add_argument("--trials", type=int, metavar="N", help="baselines included")
    plan.add_argument("--epochs", type=int, metavar="N", help="of a trial that is not stopped early")
    plan.add_argument("--image-size", type=int, metavar="PX", help="side of the square training image")
    plan.add_argument("--published", action="store_true", help="run the published configurations whatever they cost")
    plan.add_argument(
        "--finalist-seeds", type=int, metavar="N", help="seeds that each of the best trials is trained with"
    )
    plan.add_argument("--seed", type=int, metavar="N", help="of the search and of every trial")
    plan.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any key, as in search.batch_size=8"
    )

    machine = p.add_argument_group("what it runs on")
    own = "; in-process: one, in this process and without Ray"
    machine.add_argument("--lanes", type=start.lanes, metavar="N", help=f"trials side by side{own}")
    machine.add_argument("--workers-per-trial", type=int, metavar="N", help="DDP ranks of each trial")
    machine.add_argument("--gpus-per-worker", type=float, metavar="F", help="may be a fraction; 0 trains on CPUs")
    address = "a running Ray cluster (default: $RAY_ADDRESS, else a local one)"
    machine.add_argument("--address", metavar="ADDR", help=address)
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    if given.list:
        print("\n".join(aligned([*bundled().items()])))
        return OK
    asked = {name: value for name, value in vars(given).items() if name not in ("list", "dry_run")}
    if arguments is not None:  # called from a notebook, which may have imported this long ago
        asked |= {"began": time.monotonic(), "words": arguments}
    return status_of(lambda: start.run(Command(**asked), given.dry_run))


if __name__ == "__main__":
    sys.exit(main())
