"""Run a trial again from its record alone, and say whether it came out the same.

    python -m study.replay STUDY TRIAL [--data DIR] [--weights DIR]

No Ray, no search: the record's experiment through seg's own loop, with the recorded number of workers and threads,
for the epochs that the trial had. It matches where the validation counts of its best epoch are the same integers.
Exit status: 0 matched, 1 not, 2 bad input.
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
from tqdm import tqdm

from seg import data, loop, pack
from seg.data import DataError
from seg.experiment import Experiment
from seg.pack import Pack
from seg.ranks import Ranks
from seg.weights import WeightsError
from study import counts
from study.arguments import ArgumentParser
from study.ls import open_study
from study.records import FormatError, Record, read_record, read_study
from study.redact import complain
from study.store import Store, StoreError

MATCHED, DIFFERENT, BAD_INPUT = 0, 1, 2


class ReplayError(Exception):
    """One line: what, where, what to do."""


def replay(record: Record, packed: Pack, weights_dir: Path | None) -> pd.DataFrame:
    """Validation counts at the record's best epoch, of the trial run again, as study.counts.to_table gives them."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "val_counts.parquet"
        arguments = (record, packed.folder, weights_dir, out)
        if record.workers == 1:
            _run(0, *arguments)
        else:
            torch.multiprocessing.spawn(_run, arguments, nprocs=record.workers)
        return counts.from_parquet(out.read_bytes())


def _run(rank: int, record: Record, pack_folder: Path, weights_dir: Path | None, out: Path) -> None:
    """One rank's part; rank 0 writes the counts."""
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
    for _, result in tqdm(results, total=len(record.epochs), unit="epoch", disable=rank > 0 or not sys.stderr.isatty()):
        if result.epoch == record.best_epoch and rank == 0:
            out.write_bytes(counts.to_parquet(counts.to_table(run.data.val.ids, result.validation.counts)))
    if record.workers > 1:
        dist.destroy_process_group()


def experiment_of(record: Record) -> Experiment:
    """In the precision that the trial was trained in; before records said so, that was bf16 on GPUs, fp32 on CPUs."""
    trained_in = record.extra.get("precision") or ("bf16" if record.gpus else "fp32")
    return replace(Experiment.from_json(record.experiment), precision=trained_in)


def differences(recorded: pd.DataFrame, again: pd.DataFrame) -> int:
    """Images whose integer counts are not the same, or that only one of the two has."""
    key, hard = ["id", "class"], list(counts.HARD)
    joined = recorded.merge(again, on=key, how="outer", suffixes=("", "_again"))
    same = (joined[hard].to_numpy() == joined[[f"{name}_again" for name in hard]].to_numpy()).all(axis=1)
    return int(joined.loc[~same, "id"].nunique())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = ArgumentParser(prog="python -m study.replay", description="Run a trial again from its record.")
    parser.add_argument("study", metavar="STUDY", help="<storage>/<name>, a folder or s3://...")
    parser.add_argument("trial", type=int, metavar="TRIAL", help="its number")
    parser.add_argument("--data", type=Path, help="datasets (default: where the study had them)")
    parser.add_argument("--weights", type=Path, help="encoder weights (default: where the study had them)")
    given = parser.parse_args(arguments)
    try:
        store = open_study(given.study)
        return _report(store, given)
    except (ReplayError, FileNotFoundError, DataError, WeightsError, StoreError, FormatError) as error:
        complain(error)
        return BAD_INPUT


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
        raise ReplayError(f"{store.uri}: no trial {trial}; python -m study.ls {store.uri} shows them") from error
    if record.best_epoch is None:
        raise ReplayError(f"trial {trial} is {record.state} and finished no epoch: nothing to compare")
    return record


def _recorded_counts(store: Store, record: Record) -> pd.DataFrame:
    return counts.from_parquet(store.read(record.path("val_counts")))


if __name__ == "__main__":
    sys.exit(main())
