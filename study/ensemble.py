"""Score an ensemble of finalists on the sealed test split: the mean of their probabilities, at the masks' own size.

    python -m study.ensemble STUDY [--trials N N ...] [--flips] [--data DIR]

The default is the best trials, as many as the study's spec has finalists, and their seed replicates. --trials names
others among the scored trials, published baselines included. With --flips each model sees every image as it is, and
flipped: for a single trial, that is test-time augmentation. The result is kept in the study, where analysis.finalists
and the report compare it with single finalists. Exit status: 0, or 2 for bad input.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from seg import cli, data, metrics, predict
from seg.cli import STUDY_HELP, ArgumentParser, track
from seg.data.sample import Dataset, Sample
from seg.errors import UserError
from seg.metrics import Counts
from seg.predict import count_native
from study.ranking import leaders
from study.spec import Spec, from_json
from study.store import Store, counts
from study.store.records import ENSEMBLES, Record, now, open_study, read_records, read_study


def parser() -> ArgumentParser:
    p = ArgumentParser(
        "study.ensemble", "Score what finalists predict together.", "studies/first", "studies/first --trials 0 7"
    )
    p.add_argument("study", metavar="STUDY", help=STUDY_HELP)
    p.add_argument(
        "--trials", type=int, nargs="+", metavar="N", help="the members (default: the best, with their seeds)"
    )
    p.add_argument("--flips", action="store_true", help="average each member over the flips of every image")
    p.add_argument("--data", type=Path, metavar="DIR", help="datasets (default: where the study had them)")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    return cli.status_of(lambda: _ensemble(open_study(given.study), given))


def _ensemble(store: Store, given: argparse.Namespace) -> int:
    study = read_study(store)
    spec = from_json(study["spec"], source=f"{store.uri}/study.json")
    members = _members(store, spec, given.trials)
    data_dir = given.data or Path(study["places"]["data"])
    dataset = data.load(str(members[0].experiment["dataset"]), data_dir, download=False)
    samples = _samples(store, members[0], dataset)
    name = "+".join(str(record.trial) for record in members) + (" flips" if given.flips else "")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    predictors = [
        replace(predict.from_bytes(store.read(record.path("best")), device), flips=given.flips) for record in members
    ]
    found = count_native(predictors, dataset, track(samples, "images"))
    keep(store, name, members, given.flips, [sample.id for sample in samples], found)
    scores = metrics.scores(found)
    shown = ", ".join(f"{score} {scores[score]:.4f}" for score in ("iou", "dice"))
    print(f"{name}: {shown} at the masks' own size, {len(samples)} test images")
    print(f"against the others: python -m analysis.finalists {given.study}")
    return 0


def _members(store: Store, spec: Spec, trials: Sequence[int] | None) -> list[Record]:
    """Return the ensemble's trials, all of them scored: which ones were scored did not depend on the test images."""
    records = read_records(store)
    known = {record.trial: record for record in records if record.test is not None}
    chosen = set(trials or _best(records, spec) & known.keys())
    if not chosen:
        raise UserError(f"{store.uri}: no finalist was scored on the sealed test split yet; let the study finish")
    for trial in sorted(chosen):
        if trial not in known:
            raise UserError(f"--trials {trial}: is no finalist; choose from {', '.join(map(str, known))}")
    return [known[trial] for trial in sorted(chosen)]


def _best(records: Sequence[Record], spec: Spec) -> set[int]:
    found = leaders.best(records, spec.objectives, spec.finalists.top, spec.compare)
    return {record.trial for record in (*found, *leaders.replicates(records, found, spec.objectives))}


def _samples(store: Store, scored: Record, dataset: Dataset) -> list[Sample]:
    """Return the images that the finalist was scored on, in the same order."""
    path = scored.path("test_counts")
    try:
        table = counts.from_parquet(store.read(path))
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{store.uri}/{path}: cannot be read ({reason}); restore the file") from error
    by_id = {sample.id: sample for sample in dataset.samples}
    ids = list(dict.fromkeys(table["id"]))
    if missing := [id for id in ids if id not in by_id]:
        raise UserError(
            f"{missing[0]}: of the study's test images, is not among the {len(by_id)} of {dataset.name} here; "
            "give the study's own data with --data"
        )
    return [by_id[id] for id in ids]


def keep(store: Store, name: str, members: Sequence[Record], flips: bool, ids: list[str], found: Counts) -> None:
    """Write `ensembles/<name>.json` and, before it, the counts in the format of `study.store.counts`."""
    table, file = counts.to_table(ids, found).assign(size="native"), f"{ENSEMBLES}/{name.replace(' ', '-')}"
    store.write(f"{file}.parquet", counts.to_parquet(table))
    content: dict[str, Any] = {"name": name, "trials": [one.trial for one in members], "flips": flips, "made": now()}
    scores = {f"native_{score}": value for score, value in metrics.scores(found).items()}
    store.write_json(f"{file}.json", content | {"test": scores})


if __name__ == "__main__":
    sys.exit(main())
