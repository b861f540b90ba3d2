"""A pack small enough to train on in a second."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from seg import data, loop, pack
from seg.data import Dataset
from seg.experiment import Experiment
from seg.loop import Data
from seg.pack import Pack

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small gain nothing from more, and where something else runs, threads that spin cost forty times."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tiny_pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """64 synthetic lesions at 64 pixels."""
    whole = data.load("phantom", Path("nowhere"))
    train = [sample for sample in whole.samples if sample.split == "train"][:52]
    test = [sample for sample in whole.samples if sample.split == "test"][:12]
    few = Dataset(whole.name, [*train, *test], whole.class_names, whole.remark, whole.synthetic)
    return pack.build(few, 64, tmp_path_factory.mktemp("packs"), progress=False)


@pytest.fixture(scope="session")
def tiny(tiny_pack: Pack) -> Data:
    return loop.load(tiny_pack, CPU)


def experiment(**changes: Any) -> Experiment:
    choices: dict[str, Any] = {
        "dataset": "phantom",
        "image_size": 64,
        "model": "mobilenetv2_skip",
        "loss": "bce",
        "epochs": 3,
        "decoder_lr": 1e-3,
        "encoder_lr": 1e-4,
        "encoder_weights": "none",
        "batch_size": 16,
        "augment": "flips_rotate",
    }
    return Experiment(**choices | changes)


@pytest.fixture(scope="session")
def make_experiment() -> Any:
    return experiment
