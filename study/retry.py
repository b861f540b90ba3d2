"""Run trials of a study again that went wrong: after more memory, a mended disk, a new version.

    python -m study.retry STUDY --failed [--infeasible] [--trial N ...]

Each starts from its beginning, with the same experiment; its record keeps what became of the attempts before. What
else the study had not finished goes on too. Exit status as of study.run.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from study import run
from study.arguments import ArgumentParser
from study.ls import open_study
from study.records import Record, State, read_records, read_study
from study.redact import redact_crashes
from study.store import Store


def parser() -> ArgumentParser:
    p = ArgumentParser(prog="python -m study.retry", description="Run trials that went wrong again.")
    p.add_argument("study", metavar="STUDY", help="<storage>/<name>, a folder or s3://...")
    p.add_argument("--failed", action="store_true", help="every FAILED trial: an exception, a NaN, a standstill")
    p.add_argument("--infeasible", action="store_true", help="every INFEASIBLE trial: out of memory")
    p.add_argument("--trial", type=int, action="append", default=[], metavar="N", help="this one, FAILED or INFEASIBLE")
    p.add_argument("--data", type=Path, metavar="DIR", help="datasets (default: where the study had them)")
    p.add_argument("--weights", type=Path, metavar="DIR", help="encoder weights (default: where the study had them)")
    for flag in ("--lanes", "--workers-per-trial", "--gpus-per-worker", "--budget"):
        p.add_argument(flag, metavar="X", help="as of study.run (default: its)")
    for flag in ("--address", "--optuna-storage"):
        p.add_argument(flag, metavar="X", help="as of study.run (default: none)")
    p.add_argument("--no-report", action="store_true", help="do not write report.html at the end")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    return run.status_of(lambda: _retry(given))


def _retry(given: argparse.Namespace) -> int:
    if not (given.failed or given.infeasible or given.trial):
        raise run.InputError("which trials? --failed, --infeasible or --trial N; python -m study.ls shows them")
    try:
        store = open_study(given.study)
    except FileNotFoundError as error:
        raise run.InputError(str(error)) from error
    chosen = _chosen(read_records(store), given)
    if not chosen:
        print(f"{given.study}: no such trial; nothing to run again")
        return run.OK
    print(f"again: trials {', '.join(map(str, chosen))}", flush=True)
    return run.retry(run.parser().parse_args(_as_resumed(store, given)), chosen)


def _chosen(records: list[Record], given: argparse.Namespace) -> list[int]:
    wrong = {record.trial: record.state for record in records if record.state in (State.FAILED, State.INFEASIBLE)}
    if other := [trial for trial in given.trial if trial not in wrong]:
        raise run.InputError(f"--trial {other[0]}: is neither FAILED nor INFEASIBLE; python -m study.ls shows which")
    states = {state for state, asked in ((State.FAILED, given.failed), (State.INFEASIBLE, given.infeasible)) if asked}
    return sorted(trial for trial, state in wrong.items() if state in states or trial in given.trial)


def _as_resumed(store: Store, given: argparse.Namespace) -> list[str]:
    """The arguments of study.run that go on with the study."""
    storage, _, name = store.uri.rpartition("/")
    places: dict[str, Any] = read_study(store)["places"]
    flags = {
        "--data": given.data or places["data"],
        "--weights": given.weights or places["weights"],
        "--lanes": given.lanes,
        "--workers-per-trial": given.workers_per_trial,
        "--gpus-per-worker": given.gpus_per_worker,
        "--budget": given.budget,
        "--address": given.address,
        "--optuna-storage": given.optuna_storage,
    }
    words = ["--resume", "--storage", storage, "--name", name, *(["--no-report"] if given.no_report else [])]
    return words + [str(word) for flag, value in flags.items() if value is not None for word in (flag, value)]


if __name__ == "__main__":
    redact_crashes()
    sys.exit(main())
