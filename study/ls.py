"""A study's leaderboard.

python -m study.ls STUDY [--top N]
"""

import math
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from study.arguments import ArgumentParser, at_least_one
from study.leaders import ranked, replicates
from study.objective import Objective
from study.progress import duration
from study.records import FormatError, Record, State, read_records, read_study
from study.redact import complain, redact
from study.store import Store, StoreError

COLUMNS = {
    "trial": 0,
    "state": 1,
    "score": 2,
    "epoch": 6,
    "test_iou": 5,
    "native": 10,
    "model": 3,
    "loss": 4,
    "encoder": 8,
    "decoder": 9,
    "augment": 11,
    "batch": 12,
    "source": 7,
}
"""Column -> its place in line where a terminal is too narrow for all of them. `score` is titled with its metric."""


def show(store: Store, top: int) -> None:
    """Print the best `top` trials, the states of all, and how to see more. StoreError where it cannot be read."""
    with store.reached():
        study, records = read_study(store), read_records(store)
    objective = Objective(**study["spec"]["objective"])
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    order = ranked(records, objective, tuple(State))[:top]
    board = [*leaderboard(order, objective, width), *_seeds(records, order, objective)]
    for line in [_headline(study, records), *board, *_more(store, records)]:
        print(redact(line))


def leaderboard(order: list[Record], objective: Objective, width: int | None) -> list[str]:
    """A table of `order`, title first. Columns that do not fit into `width` characters are left out, none is cut."""
    if not order:
        return ["no trial has finished an epoch yet"]
    rows = [{name: objective.metric if name == "score" else name for name in COLUMNS}]
    rows += [_row(record, objective) for record in order]
    widths = {name: max(len(row[name]) for row in rows) for name in COLUMNS}
    names = _fitting(widths, width)
    return ["  ".join(row[name].ljust(widths[name]) for name in names).rstrip() for row in rows]


def _fitting(widths: dict[str, int], width: int | None) -> list[str]:
    left = math.inf if width is None else width + 2  # the last column has no gap behind it
    chosen = set()
    for name in sorted(COLUMNS, key=COLUMNS.__getitem__):
        if widths[name] + 2 <= left:
            chosen.add(name)
            left -= widths[name] + 2
    return [name for name in COLUMNS if name in chosen]


def _seeds(records: list[Record], order: list[Record], objective: Objective) -> Iterator[str]:
    """How much the scores of trials that were trained again with other seeds differ between these."""
    for record in order:
        group = [record, *replicates(records, objective, [record])]
        scores = {objective.metric: [one.best[objective.metric] for one in group]}
        for name, key in (("test_iou", "iou"), ("native", "native_iou")):
            scores[name] = [one.test[key] for one in group if one.test]
        spread = [f"{name} {mean(of):.4f} ± {stdev(of):.4f}" for name, of in scores.items() if len(of) > 1]
        if spread:
            yield f"trial {record.trial} with {len(group)} seeds (mean ± deviation): {', '.join(spread)}"


def _headline(study: dict[str, Any], records: list[Record]) -> str:
    states = ", ".join(f"{count} {state}" for state, count in sorted(Counter(r.state for r in records).items()))
    data = study["dataset"]
    synthetic = " (SYNTHETIC)" if data["synthetic"] else ""
    trials = f"{len(records)} trial{'' if len(records) == 1 else 's'}"
    if again := sum(record.replicate_of is not None for record in records):
        trials += f", {again} of them with other seeds"
    seconds = duration(sum(record.train_seconds for record in records))
    return f"{study['name']}: {data['name']}{synthetic}, {trials} ({states or 'none begun'}), {seconds} of training"


def _row(record: Record, objective: Objective) -> dict[str, str]:
    e, test = record.experiment, record.test or {}
    return {
        "trial": str(record.trial),
        "state": record.state,
        "score": f"{record.best[objective.metric]:.4f}",
        "epoch": f"{record.best_epoch}/{e['epochs']}",
        "test_iou": f"{test['iou']:.4f}" if test else "",
        "native": f"{test['native_iou']:.4f}" if test else "",
        "model": e["model"],
        "loss": e["loss"],
        "encoder": "frozen" if e["encoder_freeze"] else f"{e['encoder_lr']:.1e}",
        "decoder": f"{e['decoder_lr']:.1e}",
        "augment": e["augment"],
        "batch": str(e["batch_size"]),
        "source": record.source,
    }


def _more(store: Store, records: list[Record]) -> list[str]:
    lines = []
    for record in records:
        if record.state in (State.FAILED, State.INFEASIBLE):
            lines.append(f"trial {record.trial} {record.state}: {record.reason}")
    if any(record.test for record in records):
        lines.append("test_iou: the sealed test split at training size; native: at the masks' own size; finalists only")
    lines += [f"every column: python -m analysis.table {shlex.quote(store.uri)}"]
    lines += [f"figures:      python -m analysis.report {shlex.quote(store.uri)}"]
    return lines


def open_study(uri: str) -> Store:
    """FileNotFoundError, in one line, where `uri` is no study; StoreError where it cannot be looked at."""
    store = Store(uri if "://" in uri else str(Path(uri).resolve()))
    with store.reached():
        found = store.exists("study.json")
    if not found:
        raise FileNotFoundError(f"{uri}: no study here (study.json is missing); give <storage>/<name>")
    return store


def main(arguments: Sequence[str] | None = None) -> int:
    parser = ArgumentParser(prog="python -m study.ls", description="A study's leaderboard.")
    parser.add_argument("study", metavar="STUDY", help="<storage>/<name>, a folder or s3://...")
    parser.add_argument("--top", type=at_least_one, default=10, metavar="N", help="trials shown (default: 10)")
    given = parser.parse_args(arguments)
    try:
        show(open_study(given.study), given.top)
    except (FileNotFoundError, FormatError, StoreError) as error:
        complain(error)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
