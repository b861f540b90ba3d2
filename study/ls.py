"""A study's leaderboard.

python -m study.ls STUDY [--top N]
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from study.leaders import ranked
from study.objective import Objective
from study.progress import duration
from study.records import Record, State, read_records
from study.store import Store


def show(store: Store, top: int) -> None:
    """Print the best `top` trials, the states of all, and how to see more."""
    study, records = store.read_json("study.json"), read_records(store)
    objective = Objective(**study["spec"]["objective"])
    console = Console(highlight=False, soft_wrap=True)
    console.print(_headline(study, records), markup=False)
    console.print(_table(ranked(records, objective, tuple(State)), objective, top))
    for line in _more(store, records):
        console.print(line, markup=False)


def _headline(study: dict, records: list[Record]) -> str:
    states = ", ".join(f"{count} {state}" for state, count in sorted(Counter(r.state for r in records).items()))
    data = study["dataset"]
    synthetic = " (SYNTHETIC)" if data["synthetic"] else ""
    seconds = duration(sum(record.train_seconds for record in records))
    return f"{study['name']}: {data['name']}{synthetic}, {len(records)} trials ({states}), {seconds} of training"


def _table(order: list[Record], objective: Objective, top: int) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    titles = ["trial", "state", objective.metric, "epoch", "test_iou", "native", "model", "loss", "encoder", "decoder"]
    for title in [*titles, "augment", "batch", "source"]:
        table.add_column(title, no_wrap=True)
    for record in order[:top]:
        table.add_row(*_row(record, objective))
    return table


def _row(record: Record, objective: Objective) -> tuple[str, ...]:
    e, test = record.experiment, record.test or {}
    return (
        str(record.trial),
        record.state,
        f"{record.best[objective.metric]:.4f}",
        f"{record.best_epoch}/{e['epochs']}",
        f"{test['iou']:.4f}" if test else "",
        f"{test['native_iou']:.4f}" if test else "",
        e["model"],
        e["loss"],
        "frozen" if e["encoder_freeze"] else f"{e['encoder_lr']:.1e}",
        f"{e['decoder_lr']:.1e}",
        e["augment"],
        str(e["batch_size"]),
        record.source,
    )


def _more(store: Store, records: list[Record]) -> list[str]:
    lines = []
    for record in records:
        if record.state in (State.FAILED, State.INFEASIBLE):
            lines.append(f"trial {record.trial} {record.state}: {record.reason}")
    if any(record.test for record in records):
        lines.append("test_iou: the sealed test split at training size; native: at the masks' own size; finalists only")
    lines += [f"every column: python -m analysis.table {store.uri}"]
    lines += [f"figures:      python -m analysis.report {store.uri}"]
    return lines


def open_study(uri: str) -> Store:
    """FileNotFoundError, in one line, where `uri` is no study."""
    store = Store(uri if "://" in uri else str(Path(uri).resolve()))
    if not store.exists("study.json"):
        raise FileNotFoundError(f"{uri}: no study here (study.json is missing); give <storage>/<name>")
    return store


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m study.ls", description="A study's leaderboard.")
    parser.add_argument("study", metavar="STUDY", help="<storage>/<name>, a folder or s3://...")
    parser.add_argument("--top", type=int, default=10, metavar="N", help="trials shown (default: 10)")
    given = parser.parse_args(arguments)
    try:
        show(open_study(given.study), given.top)
    except FileNotFoundError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
