"""Run a trial again from its record alone, and report whether the result is the same.

    python -m study.replay STUDY TRIAL [--data DIR] [--weights DIR]

This needs neither Ray nor a search. seg's own loop runs the record's experiment for the trial's number of epochs, with
the recorded number of workers and threads. The result matches if the validation counts of the best epoch are the same
integers. Exit status: 0 matched, 1 not, 2 bad input.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
import torch.distributed as dist
import torch.multiprocessing

from seg import cli, data, loop, pack
from seg.cli import STUDY_HELP, ArgumentParser, track
from seg.errors import UserError
from seg.experiment import Experiment
from seg.pack import Pack
from seg.ranks import Ranks
from study.store import Store, counts
from study.store.records import Record, open_study, read_record, read_study

MATCHED, DIFFERENT = 0, 1
"""The exit codes of this command."""


def replay(record: Record, packed: Pack, weights_dir: Path | None) -> pd.DataFrame:
    """Run the trial again. Return its validation counts at the record's best epoch, as counts.to_table gives them."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "val_counts.parquet"
        arguments = (record, packed.folder, weights_dir, out)
        if record.workers == 1:
            _run(0, *arguments)
        else:
            torch.multiprocessing.spawn(_run, arguments, nprocs=record.workers)
        return counts.from_parquet(out.read_bytes())


def _run(rank: int, record: Record, pack_folder: Path, weights_dir: Path | None, out: Path) -> None:
    """Run one rank's part. Rank 0 writes the counts."""
    torch.set_num_threads(record.threads)
    device = torch.device("cuda", rank % torch.cuda.device_count()) if record.gpus else torch.device("cpu")
    if record.workers > 1:
        dist.init_process_group(
            "nccl" if record.gpus else "gloo",
            init_method=f"file://{out.with_suffix('.group')}",
            rank=rank,
            world_size=record.workers,
        )
    run = loop.start(
        experiment_of(record),
        loop.load(pack.open_pack(pack_folder, verify=False), device),
        device,
        weights_dir,
        Ranks.current(),
    )
    results = zip(range(len(record.epochs)), loop.epochs(run), strict=False)
    for _, result in track(results, "epochs", len(record.epochs), shown=rank == 0):
        if result.epoch == record.best_epoch and rank == 0:
            out.write_bytes(counts.to_parquet(counts.to_table(run.data.val.ids, result.validation.counts)))
    if record.workers > 1:
        dist.destroy_process_group()


def experiment_of(record: Record) -> Experiment:
    """Return the record's experiment, in the precision that the trial was trained in."""
    experiment = Experiment.from_json(record.experiment)
    return replace(experiment, precision=record.extra.get("precision") or experiment.precision)


def differences(recorded: pd.DataFrame, again: pd.DataFrame) -> int:
    """Return the number of images whose integer counts differ, or that only one of the tables has."""
    key, hard = ["id", "class"], list(counts.HARD)
    joined = recorded.merge(again, on=key, how="outer", suffixes=("", "_again"))
    same = (joined[hard].to_numpy() == joined[[f"{name}_again" for name in hard]].to_numpy()).all(axis=1)
    return int(joined.loc[~same, "id"].nunique())


def parser() -> ArgumentParser:
    description = "Run a trial again from its record, and compare the two."
    p = ArgumentParser("study.replay", description, "studies/first 3")
    p.add_argument("study", metavar="STUDY", help=STUDY_HELP)
    p.add_argument("trial", type=int, metavar="TRIAL", help="its number")
    p.add_argument("--data", type=Path, metavar="DIR", help="datasets (default: where the study had them)")
    p.add_argument("--weights", type=Path, metavar="DIR", help="encoder weights (default: where the study had them)")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    given = parser().parse_args(arguments)
    return cli.status_of(lambda: _report(open_study(given.study), given))


def _report(store: Store, given: argparse.Namespace) -> int:
    record = _record(store, given.trial)
    places = read_study(store)["places"]
    data_dir = given.data or Path(places["data"])
    weights_dir = given.weights or (Path(places["weights"]) if places["weights"] else None)
    experiment = Experiment.from_json(record.experiment)
    dataset = data.load(experiment.dataset, data_dir, download=False)
    packed = pack.build(dataset, experiment.image_size, pack.default_root())
    print(f"trial {record.trial}: {len(record.epochs)} epochs again, {record.workers} worker(s)", flush=True)
    different = differences(_recorded_counts(store, record), replay(record, packed, weights_dir))
    images = len(packed.indices("val"))
    if different:
        print(f"DIFFERENT: {different} of {images} validation images have other counts at epoch {record.best_epoch}")
        print("on another kind of machine, or another version of torch, small differences are expected")
        return DIFFERENT
    print(f"MATCHED: the counts of all {images} validation images at epoch {record.best_epoch} are the same")
    return MATCHED


def _record(store: Store, trial: int) -> Record:
    try:
        record = read_record(store, trial)
    except FileNotFoundError as error:
        raise UserError(f"{store.uri}: no trial {trial}; python -m study.ls {store.uri} shows them") from error
    if record.best_epoch is None:
        raise UserError(f"trial {trial} is {record.state} and finished no epoch: nothing to compare")
    return record


def _recorded_counts(store: Store, record: Record) -> pd.DataFrame:
    return counts.from_parquet(store.read(record.path("val_counts")))


if __name__ == "__main__":
    sys.exit(main())
