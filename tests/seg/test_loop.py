import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from run_state import row, same, weights

from seg import evaluate, loop
from seg.loop import Data, Diverged
from seg.losses import LOSSES, weighted_ce
from seg.pack import Pack

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "assets" / "golden_loss.json"


def test_the_same_seed_twice_is_bitwise_the_same(tiny: Data, make_experiment: Any) -> None:
    runs = [loop.start(make_experiment(epochs=2), tiny, CPU) for _ in range(2)]
    rows = [[row(result) for result in loop.epochs(run)] for run in runs]
    assert rows[0] == rows[1]
    assert same(weights(runs[0]), weights(runs[1]))


def test_another_seed_is_another_run(tiny: Data, make_experiment: Any) -> None:
    losses = {next(loop.epochs(loop.start(make_experiment(seed=s), tiny, CPU))).train_loss for s in (0, 1)}
    assert len(losses) == 2


def test_a_loss_that_is_no_number_is_said(tiny: Data, make_experiment: Any) -> None:
    run = loop.start(make_experiment(decoder_lr=1e30, encoder_lr=1e30, epochs=2), tiny, CPU)
    with pytest.raises(Diverged, match="lower the learning rates"):
        list(loop.epochs(run))


def test_class_weights_are_those_of_the_training_images(tiny: Data, make_experiment: Any) -> None:
    """Of all of them, whatever a batch holds."""
    run = loop.start(make_experiment(loss="weighted_ce", loss_parameters={"power": 1.0}), tiny, CPU)
    _, masks = tiny.train.take(torch.arange(len(tiny.train)))
    frequencies = torch.stack([(masks == c).sum() for c in range(2)]) / (masks != 255).sum()
    logits, target = torch.randn(1, 1, 4, 4), torch.tensor([0, 1]).repeat(1, 4, 2)
    assert run.loss(logits, target).item() == pytest.approx(weighted_ce(logits, target, 1.0, frequencies).item())


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_learns(tiny: Data, make_experiment: Any, loss: str) -> None:
    results = list(loop.epochs(loop.start(make_experiment(loss=loss, epochs=2), tiny, CPU)))
    assert results[-1].train_loss < results[0].train_loss
    assert all(0 <= result.validation.loss < 10 for result in results)


def test_learning_happens(tiny: Data, make_experiment: Any) -> None:
    run = loop.start(make_experiment(epochs=6, encoder_lr=1e-3, decoder_lr=2e-2, augment="none"), tiny, CPU)
    results = list(loop.epochs(run))
    assert results[-1].train_loss < 0.85 * results[0].train_loss


def test_golden_loss_curve(tiny: Data, make_experiment: Any) -> None:
    """A refactor must reproduce it. Processors differ in the last digits, and training grows them."""
    losses = [
        r.train_loss for r in loop.epochs(loop.start(make_experiment(loss="dice_bce", precision="fp32"), tiny, CPU))
    ]
    assert losses == pytest.approx(json.loads(GOLDEN.read_text()), rel=5e-3)


def test_weights_broken_by_an_epochs_last_step_are_no_score(tiny: Data, make_experiment: Any) -> None:
    """The training loss is still a number then, and a mask of NaN logits, which is empty, still has an IoU."""
    run = loop.start(make_experiment(batch_size=len(tiny.train), decoder_lr=1e36, encoder_lr=1e36), tiny, CPU)
    with pytest.raises(Diverged, match=r"validation loss is .* in epoch 1; lower the learning rates"):
        next(loop.epochs(run))


def test_rows_have_the_columns_of_the_epoch_table(tiny: Data, make_experiment: Any) -> None:
    found = next(loop.epochs(loop.start(make_experiment(), tiny, CPU))).row
    assert {"epoch", "train_loss", "train_iou", "val_loss", "val_iou", "val_dice", "val_pixel_accuracy"} <= found.keys()
    assert {"seconds", "images_per_second", "encoder_lr", "decoder_lr"} <= found.keys()


def test_it_runs_in_a_plain_shell(tiny_pack: Pack) -> None:
    """Neither Ray nor anything of a study is loaded by training."""
    script = f"""
import sys, pathlib, torch
from seg import loop, pack
from seg.experiment import Experiment
chosen = Experiment("phantom", 64, "mobilenetv2_skip", "bce", 1, 1e-3, encoder_lr=1e-4, encoder_weights="none")
data = loop.load(pack.open_pack(pathlib.Path({str(tiny_pack.folder)!r})), torch.device("cpu"))
for result in loop.epochs(loop.start(chosen, data, torch.device("cpu"))):
    print(result.epoch, sorted({{"ray", "optuna", "study", "plotly", "analysis"}} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stdout == "1 []\n", done.stderr


def test_validation_of_large_images_takes_no_more_memory_than_that_of_small_ones() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")

    assert [evaluate.batch_size(side * side, cpu) for side in (64, 128, 256, 512, 4096)] == [64, 64, 16, 4, 1]
    assert evaluate.batch_size(512 * 512, gpu) == evaluate.BATCH
