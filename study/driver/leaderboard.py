"""The leaderboard of a study in a terminal: best trials, verdict, states of all trials, and how to see more."""

import math
import shlex
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from seg.cli import aligned, duration, plural
from seg.errors import redact
from study.ranking.expected_best import Standing, standings
from study.ranking.leaders import ended_by_value, on_front, ranked, replicates
from study.ranking.objective import COSTS, Objective, objectives
from study.search.account import Account, Meter
from study.spec.budget import parse
from study.store import Store
from study.store.records import Record, State, read_records, read_study, read_used, untrained
from study.trials.tally import score_text

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
"""The columns from left to right, each with its rank. In a narrow terminal, the lowest ranks come first.

The title of `score` is its metric. If there are several objectives, the others and `pareto` follow it.
"""

MAX_FAILURES_SHOWN = 20
"""The most FAILED and INFEASIBLE trials whose reasons are shown."""


def show(store: Store, top: int) -> None:
    """Print the best `top` trials, the states of all trials, and how to see more.

    Raises StoreError if the study cannot be read.
    """
    with store.reached():
        study, records = read_study(store), read_records(store)
    aims = objectives(study["spec"]["objective"])
    front = on_front(records, aims) if len(aims) > 1 else []
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    everyone = front + [record for record in ranked(records, aims[0], tuple(State)) if record not in front]
    choice = (study.get("verdict") or {}).get("trial")
    order = everyone[:top] + [record for record in everyone[top:] if record.trial == choice]
    board = [*leaderboard(order, aims, width, {record.trial for record in front}, choice)]
    board += [*(["*: the study's choice"] if choice is not None else []), *_seeds(records, order, aims)]
    compare = study["spec"].get("compare")
    found = [*_on_front(front, aims), *(_compared(records, compare, aims[0]) if compare else [])]
    spent = _spent(store, study["spec"], records)
    said = _wrapped([*verdict(study), *_best_so_far(study, everyone, aims[0])], width)
    for line in [_headline(study, records), *said, *board, *found, *spent, *_more(store, records)]:
        print(redact(line))


def verdict(study: Mapping[str, Any]) -> list[str]:
    """Return the sentences and warnings of the verdict in study.json. Empty if there is no verdict yet."""
    found = study.get("verdict")
    return [*found["sentences"], *(f"warning: {one}" for one in found["warnings"])] if found else []


def _best_so_far(study: Mapping[str, Any], ranked: Sequence[Record], aim: Objective) -> list[str]:
    """Return a line that compares the best trial with the best trivial prediction.

    Empty once there is a verdict, unless the study has been resumed since.
    """
    trivial = untrained(study, aim.metric)
    if trivial is None or not ranked or ("verdict" in study and study.get("finished")):
        return []
    name, score = trivial
    best = f"trial {ranked[0].trial}, {score_text(ranked[0], aim)}"
    return [f"best so far: {best}; without any training: {score:.4f} ({name})"]


def _wrapped(lines: Sequence[str], width: int | None) -> list[str]:
    if width is None:
        return [*lines]
    return [part for line in lines for part in textwrap.wrap(line, width, subsequent_indent="  ")]


def leaderboard(
    order: list[Record],
    aims: Sequence[Objective],
    width: int | None,
    front: Collection[int] = (),
    choice: int | None = None,
) -> list[str]:
    """Return `order` as the lines of a table, the titles first.

    A column that does not fit into `width` characters is left out, not cut. `front`: the trials of the Pareto set, if
    there are several objectives. `choice`: the trial that the study chose, which is marked with a star.
    """
    if not order:
        return ["no trial has finished an epoch yet"]
    columns = _columns(aims)
    rows = [{name: aims[0].metric if name == "score" else name for name in columns}]
    rows += [_row(record, aims, record.trial in front, record.trial == choice) for record in order]
    widths = {name: max(len(row[name]) for row in rows) for name in columns}
    names = _fitting(widths, columns, width)
    return aligned([[row[name] for name in names] for row in rows])


def _columns(aims: Sequence[Objective]) -> dict[str, int]:
    if len(aims) == 1:
        return COLUMNS
    more = {**{objective.metric: COLUMNS["score"] for objective in aims[1:]}, "pareto": COLUMNS["score"]}
    return {"trial": COLUMNS["trial"], "state": COLUMNS["state"], "score": COLUMNS["score"], **more, **COLUMNS}


def _fitting(widths: dict[str, int], columns: dict[str, int], width: int | None) -> list[str]:
    left = math.inf if width is None else width + 2  # the last column has no gap behind it
    chosen = set()
    for name in sorted(columns, key=columns.__getitem__):
        if widths[name] + 2 <= left:
            chosen.add(name)
            left -= widths[name] + 2
    return [name for name in columns if name in chosen]


def _seeds(records: list[Record], order: list[Record], aims: Sequence[Objective]) -> Iterator[str]:
    """Yield, for each trial that was also trained with other seeds, the mean and deviation of its scores."""
    metric = aims[0].metric
    for record in order:
        group = [record, *replicates(records, [record], aims)]
        scores = {metric: [one.best[metric] for one in group]}
        for name, key in (("test_iou", "iou"), ("native", "native_iou")):
            scores[name] = [one.test[key] for one in group if one.test]
        spread = [f"{name} {mean(of):.4f} ± {stdev(of):.4f}" for name, of in scores.items() if len(of) > 1]
        if spread:
            yield f"trial {record.trial} with {len(group)} seeds (mean ± deviation): {', '.join(spread)}"


def _headline(study: dict[str, Any], records: list[Record]) -> str:
    states = ", ".join(f"{count} {state}" for state, count in sorted(Counter(r.standing for r in records).items()))
    data = study["dataset"]
    synthetic = " (SIMULATED)" if "simulated" in study else " (SYNTHETIC)" if data["synthetic"] else ""
    trials = f"{len(records)} trial{'' if len(records) == 1 else 's'}"
    if again := sum(record.replicate_of is not None for record in records):
        trials += f", {again} of them with other seeds"
    seconds = duration(sum(record.train_seconds for record in records))
    return f"{study['name']}: {data['name']}{synthetic}, {trials} ({states or 'none begun'}), {seconds} of training"


def _on_front(front: list[Record], aims: Sequence[Objective]) -> list[str]:
    if not front:
        return []
    of = ", ".join(f"{objective.mode} {objective.metric}" for objective in aims)
    trials = ", ".join(str(record.trial) for record in front)
    return [f"pareto: no other finished trial is as good in all of {of}, and better in one: trials {trials}"]


def _compared(records: list[Record], compare: str, by: Objective) -> list[str]:
    """Return a table of the best trial of each value of the choice that the study compares."""
    found = standings(ended_by_value(records, compare, by), by.mode)
    if not found:
        return []
    draws = plural(found[0].draws, "trial")
    title = compare, "trials", by.metric, "trial", "expected", "95 %", "luck"
    rows = [title, *(_standing(one) for one in found)]
    return [
        f"the best of each {compare}; expected: of {draws}; luck: the chance of such a lead, were both alike",
        *aligned(rows),
    ]


def _standing(one: Standing) -> tuple[str, ...]:
    luck = "" if math.isnan(one.luck) else f"{one.luck:.2g}"
    trials = f"{one.trials}" + (f" ({one.failed} failed)" if one.failed else "")
    interval = f"{one.low:.4f}-{one.high:.4f}"
    return str(one.value), trials, f"{one.best:.4f}", str(one.trial), f"{one.expected:.4f}", interval, luck


def _spent(store: Store, spec: dict[str, Any], records: list[Record]) -> list[str]:
    """Return a line on how much of the budget is spent. Empty if the study has no budget."""
    if not spec.get("budget"):
        return []
    prices = spec["resources"].get("price_per_hour", {})
    still = Meter(read_used(store), list, clock=lambda: 0.0)
    return [f"budget: {Account(parse(spec['budget']), prices, 0.0, still, records)} spent"]


def _row(record: Record, aims: Sequence[Objective], pareto: bool, chosen: bool) -> dict[str, str]:
    e, test, objective = record.experiment, record.test or {}, aims[0]
    return {
        **{other.metric: _value(other, record) for other in aims[1:]},
        "pareto": "yes" if pareto else "",
        "trial": f"{record.trial}{'*' if chosen else ''}",
        "state": record.standing,
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


def _value(objective: Objective, record: Record) -> str:
    value = objective.value(record)
    if value is None:
        return ""
    return f"{value:.4f}" if objective.metric not in COSTS else f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _more(store: Store, records: list[Record]) -> list[str]:
    wrong = [record for record in records if record.state in (State.FAILED, State.INFEASIBLE)]
    lines = [f"trial {record.trial} {record.state}: {record.reason}" for record in wrong[:MAX_FAILURES_SHOWN]]
    if len(wrong) > MAX_FAILURES_SHOWN:
        lines.append(f"and {len(wrong) - MAX_FAILURES_SHOWN} more that went wrong")
    if any(record.test for record in records):
        lines.append("test_iou: the sealed test split at training size; native: at the masks' own size; finalists only")
    lines += [f"every column: python -m analysis.table {shlex.quote(store.uri)}"]
    lines += [f"figures:      python -m analysis.report {shlex.quote(store.uri)}"]
    return lines
