"""Which weights a trial leaves: those of its best epoch, of its last one, or their average."""

from pathlib import Path
from typing import Any

import pytest
import torch

from seg import checkpoint, data, loop, pack
from seg.data import Dataset
from seg.experiment import Experiment
from seg.pack import Pack
from study.ranking.objective import Objective
from study.store import Store
from study.store.background import BackgroundWriter
from study.trials.attempt import Attempt

CPU = torch.device("cpu")
EPOCHS = 3


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    whole = data.load("phantom", Path("nowhere"))
    few = [*(one for one in whole.samples if one.split == "train")][:24]
    few += [one for one in whole.samples if one.split == "test"][:2]
    dataset = Dataset(whole.name, few, whole.class_names, whole.remark, whole.synthetic)
    return pack.build(dataset, 64, tmp_path_factory.mktemp("packs"), progress=False)


def begin(packed: Pack, keep: str, store: Store, objective: Objective) -> tuple[Attempt, loop.Run, BackgroundWriter]:
    rates: dict[str, Any] = {"decoder_lr": 1e-3, "encoder_lr": 1e-3, "encoder_weights": "none", "batch_size": 8}
    experiment = Experiment("phantom", 64, "mobilenetv2_plain", "bce", EPOCHS, keep=keep, **rates)
    run, writer = loop.start(experiment, loop.load(packed, CPU), CPU), BackgroundWriter(store)
    return Attempt(run, 0, objective, store, writer), run, writer


def left(store: Store, files: dict[str, str]) -> tuple[dict[str, torch.Tensor], int]:
    """The weights that a trial leaves, and their epoch."""
    tensors, header = checkpoint.read(store.read(f"trials/00000/{files['best']}"))
    return tensors, header["epoch"]


@pytest.mark.parametrize("keep", ["last", "average"])
@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("interrupted_after", [0, 1, 2])
def test_the_last_epoch_s_are_left_whichever_epoch_scored_best(
    packed: Pack, tmp_path: Path, keep: str, mode: Any, interrupted_after: int
) -> None:
    """Of two opposite objectives at least one has another best epoch; the average's file has the average."""
    store, objective = Store(str(tmp_path)), Objective("val_loss", mode)
    attempt, run, writer = begin(packed, keep, store, objective)
    for epoch in range(1, EPOCHS + 1):
        done = attempt.train_epoch()
        if epoch == interrupted_after:
            writer.flush()
            attempt, run, writer = begin(packed, keep, store, objective)
    writer.flush()
    tensors, epoch = left(store, done.files)
    kept = run.kept.state_dict()
    assert epoch == EPOCHS and all(torch.equal(tensors[name], value) for name, value in kept.items())
    trained = run.model.state_dict()
    assert all(torch.equal(tensors[name], value) for name, value in trained.items()) == (keep == "last")


@pytest.mark.parametrize("mode", ["max", "min"])
def test_the_best_epoch_s_are_left_if_those_are_kept(packed: Pack, tmp_path: Path, mode: Any) -> None:
    store, objective = Store(str(tmp_path)), Objective("val_loss", mode)
    attempt, _, writer = begin(packed, "best", store, objective)
    for _ in range(EPOCHS):
        done = attempt.train_epoch()
    writer.flush()
    losses = [row["val_loss"] for row in attempt.rows]
    assert left(store, done.files)[1] == 1 + losses.index(max(losses) if mode == "max" else min(losses))
