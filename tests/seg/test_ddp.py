"""Two ranks against one: plain torch.distributed on this machine, no Ray."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import Tensor, nn

from seg import loop, models, pack
from seg.evaluate import evaluate
from seg.experiment import Experiment
from seg.models.segmenter import Segmenter
from seg.pack import Pack
from seg.ranks import Ranks

CPU = torch.device("cpu")


class Plain(Segmenter):
    """Neither BatchNorm nor dropout: what one rank computes of an image does not depend on the others."""

    def __init__(self, channels: int):
        super().__init__()
        self.training_calls = 0
        self.encoder = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
        self.decoder = nn.Conv2d(8, channels, 3, padding=1)

    def features(self, images_N3HW: Tensor) -> list[Tensor]:
        return [self.encoder(images_N3HW)]

    def decode(self, images_N3HW: Tensor, features: Sequence[Tensor]) -> Tensor:
        self.training_calls += self.training
        logits: Tensor = self.decoder(*features)
        return logits


def results(pack_folder: Path, chosen: Experiment, ranks: Ranks, microbatches: int = 1) -> dict[str, Any]:
    """What one epoch leaves behind: weights, buffers, losses, and the counts of the validation images."""
    if chosen.model == "mobilenetv2_plain":
        models.MODELS["mobilenetv2_plain"] = models.Architecture(__name__, "Plain", weights_file="none")
    data = loop.load(pack.open_pack(pack_folder), CPU)
    run = loop.start(chosen, data, CPU, ranks=ranks, microbatches=microbatches)
    with patch("seg.evaluate.BATCH", 5):  # several batches, the last one short, so that every rank has some to score
        before = evaluate(run.model, run.data.val, chosen, 2, ranks, CPU, run.loss)
        *_, epoch = loop.epochs(run)
    return {
        "counts_before": before.counts.hard,
        "soft_before": before.counts.soft,
        "loss_before": before.loss,
        "train_loss": epoch.train_loss,
        "train_iou": epoch.train_scores["iou"],
        "weights": run.model.state_dict(),
        "kept": run.kept.state_dict(),
        "training_calls": getattr(run.model, "training_calls", None),
    }


def work(rank: int, pack_folder: Path, chosen: Experiment, out: Path, microbatches: int) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{out / 'group'}", rank=rank, world_size=2)
    torch.save(results(pack_folder, chosen, Ranks.current(), microbatches), out / f"{rank}.pt")
    dist.destroy_process_group()


def on_two_ranks(tiny_pack: Pack, chosen: Experiment, out: Path, microbatches: int = 1) -> list[dict[str, Any]]:
    torch.multiprocessing.spawn(work, (tiny_pack.folder, chosen, out, microbatches), nprocs=2)
    return [torch.load(out / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.fixture
def original_models() -> Any:
    kept = dict(models.MODELS)
    yield
    models.MODELS.update(kept)


@pytest.mark.slow
@pytest.mark.usefixtures("original_models")
@pytest.mark.parametrize(
    ("batch_size", "oversample", "microbatches"), [(9, 0.0, 1), (11, 0.0, 1), (11, 1.0, 1), (11, 0.0, 2), (11, 0.0, 9)]
)
def test_two_ranks_train_as_one(
    tiny_pack: Pack, make_experiment: Any, tmp_path: Path, batch_size: int, oversample: float, microbatches: int
) -> None:
    """The same global batch, odd ones and a short odd last one included: equal within floating-point noise, also where
    each rank computes its share in parts."""
    assert len(tiny_pack.indices("train")) % 11 == 3
    choices = {
        "batch_size": batch_size,
        "oversample": oversample,
        "epochs": 1,
        "optimizer": "adam",
        "precision": "fp32",
    }
    chosen = make_experiment(model="mobilenetv2_plain", **choices)
    alone = results(tiny_pack.folder, chosen, Ranks())
    ranks = on_two_ranks(tiny_pack, chosen, tmp_path, microbatches)
    # The last batch, of three images, leaves one rank a single one: as many parts on both, or SyncBatchNorm would hang.
    calls = (alone["training_calls"] - 1) * min(microbatches, 11 // 2) + 1
    assert [rank["training_calls"] for rank in ranks] == [calls, calls]
    for rank in ranks:
        assert torch.equal(rank["counts_before"], alone["counts_before"])
        assert torch.equal(rank["soft_before"], alone["soft_before"])
        assert rank["loss_before"] == alone["loss_before"]
        assert rank["train_loss"] == pytest.approx(alone["train_loss"], rel=1e-6)
        assert rank["train_iou"] == pytest.approx(alone["train_iou"], abs=1e-3)
        for name, value in alone["weights"].items():
            assert torch.allclose(rank["weights"][name], value, atol=2e-6), name


@pytest.mark.slow
@pytest.mark.usefixtures("original_models")
@pytest.mark.parametrize("encoder", [{"encoder_freeze": True, "encoder_lr": None}, {"encoder_frozen_epochs": 1}])
def test_two_ranks_freeze_and_thaw_as_one(
    tiny_pack: Pack, make_experiment: Any, tmp_path: Path, encoder: dict[str, Any]
) -> None:
    chosen = make_experiment(
        model="mobilenetv2_plain", epochs=2, optimizer="adam", batch_size=9, precision="fp32", **encoder
    )
    alone = results(tiny_pack.folder, chosen, Ranks())
    for rank in on_two_ranks(tiny_pack, chosen, tmp_path):
        for name, value in alone["weights"].items():
            assert torch.allclose(rank["weights"][name], value, atol=2e-6), name


@pytest.mark.slow
def test_ranks_agree_on_weights_and_statistics(tiny_pack: Pack, make_experiment: Any, tmp_path: Path) -> None:
    """With BatchNorm each rank normalises by its own images; the statistics kept are rank 0's, on every rank."""
    one, other = on_two_ranks(tiny_pack, make_experiment(epochs=1), tmp_path)
    assert one["train_loss"] == other["train_loss"]
    for name, value in one["weights"].items():
        assert torch.equal(value, other["weights"][name]), name


@pytest.mark.slow
def test_ranks_agree_on_averaged_weights_and_statistics(tiny_pack: Pack, make_experiment: Any, tmp_path: Path) -> None:
    """Each rank averages for itself; of BatchNorm's statistics, which differ, rank 0's averages are kept."""
    one, other = on_two_ranks(tiny_pack, make_experiment(epochs=1, keep="average"), tmp_path)
    assert one["kept"].keys() == one["weights"].keys()
    for name, value in one["kept"].items():
        assert torch.equal(value, other["kept"][name]), name
    assert not all(torch.equal(value, one["weights"][name]) for name, value in one["kept"].items())


@pytest.mark.slow
@pytest.mark.usefixtures("original_models")
def test_two_ranks_average_as_one(tiny_pack: Pack, make_experiment: Any, tmp_path: Path) -> None:
    chosen = make_experiment(
        model="mobilenetv2_plain", epochs=1, optimizer="adam", batch_size=9, precision="fp32", keep="average"
    )
    alone = results(tiny_pack.folder, chosen, Ranks())
    for rank in on_two_ranks(tiny_pack, chosen, tmp_path):
        for name, value in alone["kept"].items():
            assert torch.allclose(rank["kept"][name], value, atol=2e-6), name


@pytest.mark.slow
def test_a_real_model_is_counted_the_same_on_two_ranks(tiny_pack: Pack, make_experiment: Any, tmp_path: Path) -> None:
    chosen = make_experiment(epochs=1)
    alone = results(tiny_pack.folder, chosen, Ranks())
    for rank in on_two_ranks(tiny_pack, chosen, tmp_path):
        assert torch.equal(rank["counts_before"], alone["counts_before"])
        assert rank["loss_before"] == pytest.approx(alone["loss_before"], rel=1e-9)
