"""Run a study's failed or infeasible trials again: after more memory, a mended disk, a new version.

    python -m study.retry STUDY --failed [--infeasible] [--trial N ...]

Each trial starts from its beginning, with the same experiment. Its record keeps the earlier attempts. Everything else
that the study has not finished continues too. The exit status is that of study.run.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from seg import cli
from seg.cli import STUDY_HELP, ArgumentParser
from seg.errors import UserError
from study.driver import start
from study.driver.start import Command
from study.store import Store
from study.store.records import Record, State, open_study, read_records, read_study


def parser() -> ArgumentParser:
    p = ArgumentParser(
        "study.retry", "Run trials that went wrong again.", "studies/first --failed", "studies/first --trial 3"
    )
    p.add_argument("study", metavar="STUDY", help=STUDY_HELP)
    p.add_argument("--failed", action="store_true", help="every FAILED trial: an exception, a NaN, a standstill")
    p.add_argument("--infeasible", action="store_true", help="every INFEASIBLE trial: out of memory")
    p.add_argument("--trial", type=int, action="append", default=[], metavar="N", help="this one, FAILED or INFEASIBLE")
    p.add_argument("--data", type=Path, metavar="DIR", help="datasets (default: where the study had them)")
    p.add_argument("--weights", type=Path, metavar="DIR", help="encoder weights (default: where the study had them)")
    kinds: dict[str, Callable[[str], object]] = {"--lanes": start.lanes, "--workers-per-trial": int}
    kinds |= {"--gpus-per-worker": float, "--budget": str}
    for flag, kind in kinds.items():
        p.add_argument(flag, type=kind, metavar="X", help="as of study.run (default: its)")
    for flag in ("--address", "--optuna-storage"):
        p.add_argument(flag, metavar="X", help="as of study.run (default: none)")
    p.add_argument("--no-report", action="store_true", help="do not write report.html at the end")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    return cli.status_of(lambda: _retry(given))


def _retry(given: argparse.Namespace) -> int:
    if not (given.failed or given.infeasible or given.trial):
        raise UserError("which trials? --failed, --infeasible or --trial N; python -m study.ls shows them")
    store = open_study(given.study)
    chosen = _chosen(read_records(store), given)
    if not chosen:
        print(f"{given.study}: no such trial; nothing to run again")
        return cli.OK
    print(f"again: trials {', '.join(map(str, chosen))}", flush=True)
    return start.retry(_resumed(store, given), chosen)


def _chosen(records: list[Record], given: argparse.Namespace) -> list[int]:
    wrong = {record.trial: record.state for record in records if record.state in (State.FAILED, State.INFEASIBLE)}
    if other := [trial for trial in given.trial if trial not in wrong]:
        raise UserError(f"--trial {other[0]}: is neither FAILED nor INFEASIBLE; python -m study.ls shows which")
    states = {state for state, asked in ((State.FAILED, given.failed), (State.INFEASIBLE, given.infeasible)) if asked}
    return sorted(trial for trial, state in wrong.items() if state in states or trial in given.trial)


def _resumed(store: Store, given: argparse.Namespace) -> Command:
    """Return the study.run command that resumes the study."""
    storage, _, name = store.uri.rpartition("/")
    places: dict[str, Any] = read_study(store)["places"]
    weights = given.weights or places["weights"]
    return Command(
        resume=True,
        storage=storage,
        name=name,
        data=given.data or Path(places["data"]),
        weights=Path(weights) if weights else None,
        lanes=given.lanes,
        workers_per_trial=given.workers_per_trial,
        gpus_per_worker=given.gpus_per_worker,
        budget=given.budget,
        address=given.address,
        optuna_storage=given.optuna_storage,
        no_report=given.no_report,
    )


if __name__ == "__main__":
    sys.exit(main())
