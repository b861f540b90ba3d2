"""What finalists predict together on the sealed test split: the mean of their probabilities, at the masks' own size.

    python -m study.ensemble STUDY [--trials N N ...] [--flips] [--data DIR]

The best, as many as the study's spec has as finalists, and their seed replicates; or those named, of all that were
scored: published baselines too. With --flips each is shown every image as it is, and flipped;
of a single trial that is test-time augmentation. What is found is kept in the study: analysis.finalists and the report
compare it with the finalists by themselves. Exit status: 0, or 2 for bad input.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from seg import data, metrics, predict
from seg.checkpoint import CheckpointError
from seg.data import DataError
from seg.data.sample import Dataset, Sample
from seg.metrics import Counts
from seg.native import count_native
from study import counts, leaders
from study.arguments import ArgumentParser
from study.ls import open_study
from study.records import ENSEMBLES, FormatError, Record, now, read_records, read_study
from study.redact import complain
from study.spec import Spec, SpecError
from study.store import Store, StoreError


class EnsembleError(Exception):
    """One line: what, where, what to do."""


def parser() -> ArgumentParser:
    p = ArgumentParser(prog="python -m study.ensemble", description="What finalists predict together.")
    p.add_argument("study", metavar="STUDY", help="<storage>/<name>, a folder or s3://...")
    p.add_argument("--trials", type=int, nargs="+", metavar="N", help="these (default: the best, with their seeds)")
    p.add_argument("--flips", action="store_true", help="each averaged over the flips of every image")
    p.add_argument("--data", type=Path, metavar="DIR", help="datasets (default: where the study had them)")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    try:
        return _ensemble(open_study(given.study), given)
    except (EnsembleError, FileNotFoundError, DataError, StoreError, FormatError, CheckpointError, SpecError) as error:
        complain(error)
        return 2


def _ensemble(store: Store, given: argparse.Namespace) -> int:
    study = read_study(store)
    spec = Spec.from_json(study["spec"], source=f"{store.uri}/study.json")
    members = _members(store, spec, given.trials)
    data_dir = given.data or Path(study["places"]["data"])
    dataset = data.load(str(members[0].experiment["dataset"]), data_dir, download=False)
    samples = _samples(store, members[0], dataset)
    name = "+".join(str(record.trial) for record in members) + (" flips" if given.flips else "")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    predictors = [
        replace(predict.from_bytes(store.read(record.path("best")), device), flips=given.flips) for record in members
    ]
    shown = tqdm(samples, unit="image", disable=not sys.stderr.isatty())
    found = count_native(predictors, dataset, shown)
    keep(store, name, members, given.flips, [sample.id for sample in samples], found)
    scores = metrics.scores(found)
    told = ", ".join(f"{score} {scores[score]:.4f}" for score in ("iou", "dice"))
    print(f"{name}: {told} at the masks' own size, {len(samples)} test images")
    print(f"against the others: python -m analysis.finalists {given.study}")
    return 0


def _members(store: Store, spec: Spec, trials: Sequence[int] | None) -> list[Record]:
    """Only such as were scored: who was, did not hang on what the test images said."""
    records = read_records(store)
    known = {record.trial: record for record in records if record.test is not None}
    chosen = set(trials or _best(records, spec) & known.keys())
    if not chosen:
        raise EnsembleError(f"{store.uri}: no finalist was scored on the sealed test split yet; let the study finish")
    for trial in sorted(chosen):
        if trial not in known:
            raise EnsembleError(f"--trials {trial}: is no finalist; choose from {', '.join(map(str, known))}")
    return [known[trial] for trial in sorted(chosen)]


def _best(records: Sequence[Record], spec: Spec) -> set[int]:
    found = leaders.best(records, spec.objectives, spec.finalists.top, spec.compare)
    return {record.trial for record in (*found, *leaders.replicates(records, found, spec.objectives))}


def _samples(store: Store, scored: Record, dataset: Dataset) -> list[Sample]:
    """The images that the finalist was scored on, in that order."""
    path = scored.path("test_counts")
    try:
        table = counts.from_parquet(store.read(path))
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise EnsembleError(f"{store.uri}/{path}: cannot be read ({reason}); restore the file") from error
    by_id = {sample.id: sample for sample in dataset.samples}
    ids = list(dict.fromkeys(table["id"]))
    if missing := [id for id in ids if id not in by_id]:
        raise EnsembleError(
            f"{missing[0]}: of the study's test images, is not among the {len(by_id)} of {dataset.name} here; "
            "give the study's own data with --data"
        )
    return [by_id[id] for id in ids]


def keep(store: Store, name: str, members: Sequence[Record], flips: bool, ids: list[str], found: Counts) -> None:
    """`ensembles/<name>.json` and, before it, its counts as `study.counts` has them."""
    table, file = counts.to_table(ids, found).assign(size="native"), f"{ENSEMBLES}/{name.replace(' ', '-')}"
    store.write(f"{file}.parquet", counts.to_parquet(table))
    told: dict[str, Any] = {"name": name, "trials": [one.trial for one in members], "flips": flips, "made": now()}
    scores = {f"native_{score}": value for score, value in metrics.scores(found).items()}
    store.write_json(f"{file}.json", told | {"test": scores})


if __name__ == "__main__":
    sys.exit(main())
