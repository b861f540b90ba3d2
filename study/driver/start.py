"""Start or resume a study as a command asks for it, and print its results at the end."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from seg.cli import BAD_INPUT, FAILED, INTERRUPTED, OK, complain, duration
from seg.errors import UserError, redact
from study.driver import leaderboard
from study.spec import Spec, from_json, load_spec
from study.spec.spec import IN_PROCESS
from study.store import Store, StoreError, names
from study.store.records import read_records, read_study, read_used

if TYPE_CHECKING:
    from study.driver.preparation import Begun, Prepared
    from study.lanes.resources import Cluster

IMPORTED = time.monotonic()
"""About the time when a command line was typed, by time.monotonic."""
LONG_SECONDS = 3600.0
"""Seconds above which a plan without a budget, on a machine without a GPU, comes with a shorter alternative."""


@dataclass(frozen=True)
class Command:
    """The flags of study.run. A flag that was not given is None or empty, or has its default."""

    spec: str | None = None
    data: Path = Path("data")
    storage: str = "./studies"
    name: str | None = None
    trials: int | None = None
    epochs: int | None = None
    budget: str | None = None
    published: bool = False
    image_size: int | None = None
    workers_per_trial: int | None = None
    gpus_per_worker: float | None = None
    lanes: int | str | None = None
    address: str | None = None
    optuna_storage: str | None = None
    seed: int | None = None
    finalist_seeds: int | None = None
    weights: Path | None = None
    set: Sequence[str] = ()
    resume: bool = False
    no_report: bool = False
    began: float = IMPORTED
    """The time from which a budget in hours counts, by time.monotonic."""
    words: Sequence[str] | None = None
    """What was typed after `study.run`; None: the words of the command line."""


def lanes(text: str) -> int | str:
    """Parse --lanes: a number, or `in-process`. The spec checks it."""
    return int(text) if text.removeprefix("-").isdigit() else text


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
"""The key of the spec that each flag sets."""

NODES_SECONDS = 600
"""Seconds that a study waits for the first node of a cluster that can train."""

RESUMABLE = ("trials", "budget", "workers_per_trial", "gpus_per_worker", "lanes", "finalist_seeds")
"""The flags that may change a study that has begun. All others would make its trials incomparable."""


def run(given: Command, dry: bool = False) -> int:
    """Run the study to its end, or only print its plan if `dry`. Return the exit code.

    Raises UserError if the study cannot begin.
    """
    name, store = _opened(given)
    spec = _stored_spec(given, store) if given.resume else _new_spec(given, store)
    if dry:
        from study.driver import dry_run

        dry_run.show(spec, store, given.data, given.weights, _cluster(given, spec), time.monotonic() - given.began)
        return OK
    return _conduct(given, name, spec, store)


def retry(given: Command, trials: Collection[int]) -> int:
    """Resume a study, with the given trials run again from their start. Return the exit code.

    `given.resume` must be set.
    """
    name, store = _opened(given)
    return _conduct(given, name, _stored_spec(given, store), store, again=trials)


def _opened(given: Command) -> tuple[str, Store]:
    _offer_token(given.address)
    name = _name(given)
    return name, Store(f"{_absolute(given.storage)}/{name}")


def _name(given: Command) -> str:
    if given.resume and given.name is None:
        raise UserError("--resume: name the study to go on with: --name NAME")
    if not given.spec and not given.resume:
        raise UserError("SPEC: name a study or a YAML file; --list shows the bundled studies")
    if given.name is None:
        return names.study_name(f"{Path(str(given.spec)).stem}-{datetime.now():%Y%m%d-%H%M%S}")
    # Earlier versions allowed more names. A study with such a name can still be resumed.
    if not (names.is_study_name(given.name) or (given.resume and names.is_file_name(given.name))):
        raise UserError(f"--name {given.name!r}: must be {names.RULE}; --storage says where the study lies")
    return str(given.name)


def _absolute(storage: str) -> str:
    return storage.rstrip("/") if "://" in storage else str(Path(storage).resolve())


def _overrides(given: Command, flags: Sequence[str]) -> list[str]:
    values = {flag: getattr(given, flag) for flag in flags}
    return [f"{SHORTHANDS[flag]}={value}" for flag, value in values.items() if value is not None]


def _new_spec(given: Command, store: Store) -> Spec:
    if _there(store):
        raise UserError(f"{store.uri}: a study of this name exists; take another --name, or go on with it: --resume")
    published = ["published=all"] if given.published else []
    return load_spec(str(given.spec), [*given.set, *_overrides(given, list(SHORTHANDS)), *published])


def _stored_spec(given: Command, store: Store) -> Spec:
    if not _there(store):
        raise UserError(f"{store.uri}: no study here to resume; check --storage and --name")
    fixed = [f for f in SHORTHANDS if f not in RESUMABLE and getattr(given, f) is not None]
    if given.set or fixed:
        flag = "--set" if given.set else f"--{fixed[0].replace('_', '-')}"
        raise UserError(
            f"{flag} cannot be combined with --resume: a study's spec is fixed once it has started, "
            "so that its trials stay comparable; leave it out"
        )
    raw = read_study(store)["spec"]
    return from_json(raw, _overrides(given, RESUMABLE), f"{store.uri}/study.json")


def _there(store: Store) -> bool:
    with store.reached():
        return store.exists("study.json")


def _conduct(given: Command, name: str, spec: Spec, store: Store, again: Collection[int] = frozenset()) -> int:
    from seg import data
    from study.driver import conduct, preparation, session
    from study.driver.plan import Plan
    from study.lanes.resources import LanesError
    from study.mirror import optuna_mirror
    from study.search import replicates
    from study.spec.checks import caveats

    if given.optuna_storage is not None:
        optuna_mirror.check(given.optuna_storage, name, store.uri, spec, begun=given.resume)
    # Load the data first: a misspelt --data must create no store, nor a folder of weights beside the data.
    dataset = data.load(spec.dataset, given.data)
    store.check_writable()
    storage = Store(_absolute(given.storage))
    machines = _cluster(given, spec, NODES_SECONDS)
    local = given.storage.removeprefix("file://")
    if "://" not in local and (len(machines.nodes) > 1 or machines.elastic):
        from study.lanes import cluster

        cluster.check_seen(Path(local), machines)
    say = partial(print, flush=True)
    begun = _begun(store, extends=given.budget is not None and given.trials is None) if given.resume else None
    elapsed = time.monotonic() - given.began
    places = given.data, given.weights
    spec, prepared = preparation.prepare(spec, dataset, *places, machines, storage, elapsed, begun, say)
    if given.resume:
        _check_same_data(store, prepared.pack.key)
    with _ray(prepared) as dashboard:
        plan = Plan(name, spec, store, _typed(given), prepared, given.optuna_storage, began=given.began)
        more = f" and {count} with other seeds" if (count := replicates.most(spec)) else ""
        trials = f"{'up to ' if spec.budget else ''}{spec.trials} trials{more}"
        say(f"study {redact(store.uri)}: {trials}, {prepared.allotment}")
        say(f"data: {prepared.summary()}")
        warnings = [f"warning: {line}" for line in (*dataset.warnings, *caveats(spec))]
        for line in [*_planned(given, spec, prepared), *warnings]:
            say(line)
        if dashboard:
            say(f"Ray dashboard: {dashboard} (its token: `ray get-auth-token`)")
        say(f"to resume after an interruption: {_resume_line(given, name)}")
        if dashboard:
            say("lanes are starting, which takes about 15 s")
        try:
            conduct.conduct(plan, given.resume, again)
        except session.StudyTaken as error:
            complain(error)
            return BAD_INPUT
        except (StoreError, LanesError) as error:
            complain(error)
            print(f"what the store has is safe. Go on with:\n  {_resume_line(given, name)}", file=sys.stderr)
            return FAILED
        except (conduct.Interrupted, KeyboardInterrupt):
            print(f"\ninterrupted; nothing is lost. Go on with:\n  {_resume_line(given, name)}", flush=True)
            return INTERRUPTED
    leaderboard.show(store, top=5)
    if not given.no_report:
        sys.stdout.flush()  # else the report's path comes first in a pipe
        subprocess.run([sys.executable, "-m", "analysis.report", store.uri], check=False)
    for line in _what_next(spec, store):
        say(line)
    return OK


@contextmanager
def _ray(prepared: "Prepared") -> Iterator[str]:
    """Keep Ray up if lanes need it. Yields the address of its dashboard; an empty text without Ray."""
    if prepared.allotment.in_process:
        yield ""
        return
    from study.lanes import cluster

    with cluster.ray_session(prepared.cluster) as dashboard:
        yield dashboard


def _check_same_data(store: Store, pack_key: str) -> None:
    if read_study(store)["dataset"]["pack"] != pack_key:
        raise UserError(
            f"{store.uri}: the images or masks are not those it began with, so its trials would not compare; "
            "give the same --data, or start a new study"
        )


def _cluster(given: Command, spec: Spec, patience_seconds: float = 0) -> "Cluster":
    own = spec.resources.lanes == IN_PROCESS
    if own and given.address:
        raise UserError(f"--address {given.address}: the lane is in this process; to train on a cluster: --lanes auto")
    address = None if own else given.address or os.environ.get("RAY_ADDRESS")
    if address:
        from study.lanes import cluster  # imports Ray: over a second, not needed to plan for this machine

        return cluster.join(address, patience_seconds)
    from study.driver import preparation

    return preparation.this_machine()


def _offer_token(address: str | None) -> None:
    """Have Ray send its token to a cluster that asks for one, as a Ray started by another study.run does.

    Ray reads the variable when it is imported. A cluster that asks for no token ignores it.
    """
    asked = (address or os.environ.get("RAY_ADDRESS")) and "ray" not in sys.modules
    if asked and Path("~/.ray/auth_token").expanduser().is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")


def _typed(given: Command) -> str:
    words = sys.argv[1:] if given.words is None else given.words
    return shlex.join(map(redact, ["python", "-m", "study.run", *words]))


def _resume_line(given: Command, name: str) -> str:
    words = ["python", "-m", "study.run", *filter(None, [given.spec])]
    words += ["--data", str(given.data), "--storage", given.storage]
    words += ["--weights", str(given.weights)] if given.weights else []
    words += ["--address", given.address] if given.address else []
    words += ["--optuna-storage", given.optuna_storage] if given.optuna_storage is not None else []
    return shlex.join(map(redact, [*words, "--name", name, "--resume"]))


def _what_next(spec: Spec, store: Store) -> list[str]:
    """Return lines on how to use the best model, and how to train on a folder of one's own images."""
    if "verdict" not in read_study(store):
        return []
    predict = shlex.join(["python", "-m", "seg.predict", redact(store.uri)])
    lines = [f"masks for your own images: {predict} IMAGE --out masks"]
    if spec.dataset != "folder":
        own = "python -m study.run folder --data photos --budget 10min"
        lines.append(f"train on your own images:  {own}   (photos/images and photos/masks)")
    return lines


def _begun(store: Store, extends: bool) -> "Begun":
    from study.driver.preparation import Begun

    with store.reached():
        ended = sum(record.state.ended for record in read_records(store))
        return Begun(ended, 3600 * read_used(store).hours, extends)


def _planned(given: Command, spec: Spec, prepared: "Prepared") -> list[str]:
    """Return lines on what the plan chose, why, what it left out, and a shorter way for a long study on a CPU."""
    planned = prepared.planned
    if planned is None:
        return []
    lines = [f"{title}: {line}" for title, line in zip(("plan", "why"), planned.remarks, strict=False)]
    if planned.left_out:
        lines.append(f"left out, because they do not fit (--published runs them): {'; '.join(planned.left_out)}")
    if spec.budget is None and planned.search_seconds > LONG_SECONDS and not prepared.allotment.gpus_per_worker:
        shorter = shlex.join(
            ["python", "-m", "study.run", str(given.spec), "--data", str(given.data), "--budget", "1h"]
        )
        lines.append(
            f"warning: without a GPU this takes about {duration(planned.search_seconds)}; in an hour instead: {shorter}"
        )
    return lines
