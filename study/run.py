"""Run a study.

    python -m study.run SPEC [--data DIR] [--storage URI] [--name NAME] [--trials N] ...

SPEC is a bundled study (--list shows them) or a YAML file of the same form. Exit status: 0 finished, 2 bad input,
130 interrupted (the last line says how to resume), 1 otherwise.
"""

import argparse
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from study import ls, names
from study.arguments import ArgumentParser
from study.meter import read_used
from study.progress import duration
from study.records import FormatError, read_records, read_study
from study.redact import complain, redact, redact_crashes
from study.spec import Spec, SpecError, bundled, load_spec
from study.store import Store, StoreError

if TYPE_CHECKING:
    from study.preparation import Begun, Prepared
    from study.resources import Cluster

OK, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
STARTED = time.monotonic()
"""About when the command was typed: a budget in hours counts from then on."""
LONG_SECONDS = 3600.0
"""A plan without a budget that takes longer, on a machine without a GPU, is told together with a shorter way."""

SHORTHANDS = {
    "trials": "trials",
    "epochs": "epochs",
    "budget": "budget",
    "image_size": "image_size",
    "seed": "seed",
    "workers_per_trial": "resources.workers_per_trial",
    "gpus_per_worker": "resources.gpus_per_worker",
    "lanes": "resources.lanes",
    "finalist_seeds": "finalists.seeds",
}
"""Flag -> the key of the spec that it sets."""

NODES_SECONDS = 600
"""For so long a study waits for the first node of a cluster that could train."""

RESUMABLE = ("trials", "budget", "workers_per_trial", "gpus_per_worker", "lanes", "finalist_seeds")
"""Flags that may change a study that has begun: all others would make its trials incomparable."""


class InputError(Exception):
    """One line: what, where, what to do."""


def parser() -> ArgumentParser:
    p = ArgumentParser(prog="python -m study.run", description="Run a study.", allow_abbrev=False)
    p.add_argument("spec", nargs="?", metavar="SPEC", help="a bundled study (--list) or a YAML file")
    p.add_argument("--list", action="store_true", help="show the bundled studies")
    p.add_argument("--data", type=Path, default=Path("data"), metavar="DIR", help="datasets (default: ./data)")
    p.add_argument("--storage", default="./studies", metavar="URI", help="folder or s3://bucket/prefix of studies")
    p.add_argument("--name", help="of the study (default: spec and time)")
    p.add_argument("--trials", type=int, metavar="N", help="baselines included")
    p.add_argument("--epochs", type=int, metavar="N", help="of a trial that is not stopped early")
    p.add_argument(
        "--budget", metavar="B", help="15min, 2h, 40gpu-hours or 25usd: the plan fits it, and the study ends"
    )
    p.add_argument("--published", action="store_true", help="run the published configurations whatever they cost")
    p.add_argument("--image-size", type=int, metavar="PX", help="side of the square training image")
    p.add_argument("--workers-per-trial", type=int, metavar="N", help="DDP ranks of each trial")
    p.add_argument("--gpus-per-worker", type=float, metavar="F", help="may be a fraction; 0 trains on CPUs")
    p.add_argument("--lanes", type=int, metavar="N", help="trials side by side")
    p.add_argument("--address", metavar="ADDR", help="a running Ray cluster (default: $RAY_ADDRESS, else a local one)")
    p.add_argument(
        "--optuna-storage", metavar="URL", help="mirror for optuna-dashboard: sqlite:///F.db, postgresql://..."
    )
    p.add_argument("--seed", type=int, metavar="N")
    p.add_argument("--finalist-seeds", type=int, metavar="N", help="seeds that each of the best trials is trained with")
    p.add_argument("--weights", type=Path, metavar="DIR", help="encoder weights (default: DATA/weights, downloaded)")
    p.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="any key, as in search.batch_size=8")
    p.add_argument("--resume", action="store_true", help="go on with the study of this name")
    p.add_argument("--dry-run", action="store_true", help="check everything, print the plan, start nothing")
    p.add_argument("--no-report", action="store_true", help="do not write report.html at the end")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    if given.list:
        found = bundled()
        width = max(map(len, found))
        for name, description in found.items():
            print(f"{name:{width}s}  {description}")
        return OK
    return status_of(lambda: _run(given))


def status_of(action: Callable[[], int]) -> int:
    """The exit status of `action`; what is the user's to mend is one line and 2."""
    try:
        return action()
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return INTERRUPTED
    except _input_errors() as error:
        complain(error)
        return BAD_INPUT


def _input_errors() -> tuple[type[Exception], ...]:
    # Imported here: they come with torch, two seconds that --list and --help can do without.
    from seg.data import DataError
    from seg.weights import WeightsError
    from study.optuna_storage import OptunaStorageError
    from study.resources import ResourceError

    return InputError, SpecError, StoreError, FormatError, DataError, WeightsError, ResourceError, OptunaStorageError


def _run(given: argparse.Namespace) -> int:
    _offer_token(given.address)
    name = _name(given)
    store = Store(f"{_absolute(given.storage)}/{name}")
    spec = _stored_spec(given, store) if given.resume else _new_spec(given, store)
    if given.dry_run:
        from study import dry_run

        dry_run.show(spec, store, given.data, given.weights, _cluster(given.address), time.monotonic() - STARTED)
        return OK
    return _conduct(given, name, spec, store)


def retry(given: argparse.Namespace, trials: Collection[int]) -> int:
    """Go on with a study, these of its trials from their start. `given` as the parser makes it, with `resume`."""
    _offer_token(given.address)
    name = _name(given)
    store = Store(f"{_absolute(given.storage)}/{name}")
    return _conduct(given, name, _stored_spec(given, store), store, again=trials)


def _name(given: argparse.Namespace) -> str:
    if given.resume and given.name is None:
        raise InputError("--resume: name the study to go on with: --name NAME")
    if not given.spec and not given.resume:
        raise InputError("SPEC: name a study or a YAML file; --list shows the bundled studies")
    if given.name is None:
        return names.study_name(f"{Path(given.spec).stem}-{datetime.now():%Y%m%d-%H%M%S}")
    # Earlier versions let more through: such a study can still be gone on with.
    if not (names.is_study_name(given.name) or (given.resume and names.is_file_name(given.name))):
        raise InputError(f"--name {given.name!r}: must be {names.RULE}; --storage says where the study lies")
    return str(given.name)


def _absolute(storage: str) -> str:
    return storage.rstrip("/") if "://" in storage else str(Path(storage).resolve())


def _overrides(given: argparse.Namespace, flags: Sequence[str]) -> list[str]:
    values = {flag: getattr(given, flag) for flag in flags}
    return [f"{SHORTHANDS[flag]}={value}" for flag, value in values.items() if value is not None]


def _new_spec(given: argparse.Namespace, store: Store) -> Spec:
    if _there(store):
        raise InputError(f"{store.uri}: a study of this name exists; take another --name, or go on with it: --resume")
    published = ["published=all"] if given.published else []
    return load_spec(given.spec, [*given.set, *_overrides(given, list(SHORTHANDS)), *published])


def _stored_spec(given: argparse.Namespace, store: Store) -> Spec:
    if not _there(store):
        raise InputError(f"{store.uri}: no study here to resume; check --storage and --name")
    fixed = [f for f in SHORTHANDS if f not in RESUMABLE and getattr(given, f) is not None]
    if given.set or fixed:
        flag = "--set" if given.set else f"--{fixed[0].replace('_', '-')}"
        raise InputError(
            f"{flag} cannot be combined with --resume: a study's spec is fixed once it has started, "
            "so that its trials stay comparable; leave it out"
        )
    raw = read_study(store)["spec"]
    return Spec.from_json(raw, _overrides(given, RESUMABLE), f"{store.uri}/study.json")


def _there(store: Store) -> bool:
    with store.reached():
        return store.exists("study.json")


def _conduct(
    given: argparse.Namespace, name: str, spec: Spec, store: Store, again: Collection[int] = frozenset()
) -> int:
    from seg import data
    from study import cluster, conduct, optuna_mirror, preparation, replicates, session, tune_loop
    from study.caveats import caveats
    from study.plan import Plan

    if given.optuna_storage is not None:
        optuna_mirror.check(given.optuna_storage, name, store.uri, spec, begun=given.resume)
    # First of all: neither the store nor the weights, which are downloaded beside it, are made for misspelt data.
    dataset = data.load(spec.dataset, given.data)
    store.check_writable()
    storage = Store(_absolute(given.storage))
    machines = _cluster(given.address, NODES_SECONDS)
    local = given.storage.removeprefix("file://")
    if "://" not in local and (len(machines.nodes) > 1 or machines.elastic):
        cluster.check_seen(Path(local), machines)
    say = partial(print, flush=True)
    begun = _begun(store, extends=given.budget is not None and given.trials is None) if given.resume else None
    elapsed = time.monotonic() - STARTED
    places = given.data, given.weights
    spec, prepared = preparation.prepare(spec, dataset, *places, machines, storage, elapsed, begun, say)
    if given.resume:
        _check_same_data(store, prepared.pack.key)
    with cluster.ray_session(prepared.cluster) as dashboard:
        plan = Plan(name, spec, store, _typed(), prepared, given.optuna_storage, began=STARTED)
        more = f" and {count} with other seeds" if (count := replicates.most(spec)) else ""
        trials = f"{'up to ' if spec.budget else ''}{spec.trials} trials{more}"
        say(f"study {redact(store.uri)}: {trials}, {prepared.allotment}")
        say(f"data: {prepared.summary()}")
        warnings = [f"warning: {line}" for line in (*dataset.warnings, *caveats(spec))]
        for line in [*_planned(given, spec, prepared), *warnings]:
            say(line)
        say(f"Ray dashboard: {dashboard} (its token: `ray get-auth-token`)")
        say(f"to resume after an interruption: {_resume_line(given, name)}")
        say("lanes are starting, which takes about 15 s")
        try:
            conduct.conduct(plan, given.resume, again)
        except session.StudyTaken as error:
            complain(error)
            return BAD_INPUT
        except (StoreError, tune_loop.LanesError) as error:
            complain(error)
            print(f"what the store has is safe. Go on with:\n  {_resume_line(given, name)}", file=sys.stderr)
            return FAILED
        except (conduct.Interrupted, KeyboardInterrupt):
            print(f"\ninterrupted; nothing is lost. Go on with:\n  {_resume_line(given, name)}", flush=True)
            return INTERRUPTED
    ls.show(store, top=5)
    if not given.no_report:
        sys.stdout.flush()  # else the report's path comes first in a pipe
        subprocess.run([sys.executable, "-m", "analysis.report", store.uri], check=False)
    for line in _what_next(spec, store):
        say(line)
    return OK


def _what_next(spec: Spec, store: Store) -> list[str]:
    """How to use the model that was found, and how to start on a folder of one's own."""
    if "verdict" not in read_study(store):
        return []
    predict = shlex.join(["python", "-m", "seg.predict", redact(store.uri)])
    lines = [f"masks for your own images: {predict} IMAGE --out masks"]
    if spec.dataset != "folder":
        own = "python -m study.run folder --data photos --budget 10min"
        lines.append(f"train on your own images:  {own}   (photos/images and photos/masks)")
    return lines


def _begun(store: Store, extends: bool) -> "Begun":
    from study.preparation import Begun

    with store.reached():
        ended = sum(record.state.ended for record in read_records(store))
        return Begun(ended, 3600 * read_used(store).hours, extends)


def _planned(given: argparse.Namespace, spec: Spec, prepared: "Prepared") -> list[str]:
    """What the plan chose and why, what it left out, and, for a long study on a CPU, a shorter way."""
    planned = prepared.planned
    if planned is None:
        return []
    lines = [f"{title}: {line}" for title, line in zip(("plan", "why"), planned.remarks, strict=False)]
    if planned.left_out:
        lines.append(f"left out, because they do not fit (--published runs them): {'; '.join(planned.left_out)}")
    if spec.budget is None and planned.search_seconds > LONG_SECONDS and not prepared.allotment.gpus_per_worker:
        shorter = shlex.join(["python", "-m", "study.run", given.spec, "--data", str(given.data), "--budget", "1h"])
        lines.append(
            f"warning: without a GPU this takes about {duration(planned.search_seconds)}; in an hour instead: {shorter}"
        )
    return lines


def _check_same_data(store: Store, pack_key: str) -> None:
    if read_study(store)["dataset"]["pack"] != pack_key:
        raise InputError(
            f"{store.uri}: the images or masks are not those it began with, so its trials would not compare; "
            "give the same --data, or start a new study"
        )


def _cluster(address: str | None, patience_seconds: float = 0) -> "Cluster":
    address = address or os.environ.get("RAY_ADDRESS")
    if address:
        from study import cluster  # it takes Ray, more than a second that a plan for this machine can do without

        return cluster.join(address, patience_seconds)
    from study import preparation

    return preparation.this_machine()


def _offer_token(address: str | None) -> None:
    """To a cluster that asks for one, and a Ray that another study.run has started does. Ray reads the variable when it
    is imported; a cluster that asks for none does not mind."""
    asked = (address or os.environ.get("RAY_ADDRESS")) and "ray" not in sys.modules
    if asked and Path("~/.ray/auth_token").expanduser().is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _typed() -> str:
    return shlex.join(map(redact, ["python", "-m", "study.run", *sys.argv[1:]]))


def _resume_line(given: argparse.Namespace, name: str) -> str:
    words = ["python", "-m", "study.run", *filter(None, [given.spec])]
    words += ["--data", str(given.data), "--storage", given.storage]
    words += ["--weights", str(given.weights)] if given.weights else []
    words += ["--address", given.address] if given.address else []
    words += ["--optuna-storage", given.optuna_storage] if given.optuna_storage is not None else []
    return shlex.join(map(redact, [*words, "--name", name, "--resume"]))


if __name__ == "__main__":
    redact_crashes()
    sys.exit(main())
