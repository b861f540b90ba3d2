import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from run_state import row, same, weights

from seg import checkpoint, loop
from seg.checkpoint import CheckpointError
from seg.loop import Data
from seg.models import build

CPU = torch.device("cpu")
FROZEN = {"encoder_freeze": True, "encoder_lr": None}
NAMED = {**FROZEN, "encoder_weights": "imagenet"}
"""Frozen with weights that a file has."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of weights, not ImageNet's."""
    folder = tmp_path_factory.mktemp("weights")
    torch.save(build("mobilenetv2_skip", 2, None).encoder.state_dict(prefix="features."), folder / "mobilenet_v2.pth")
    return folder


def optimizer_state(run: loop.Run) -> dict[str, torch.Tensor]:
    states = run.optimizer.state_dict()["state"]
    return {f"{index}.{key}": value for index, state in states.items() for key, value in state.items()}


@pytest.mark.parametrize("model", ["mobilenetv2_skip", "mobilenetv2_plain"])
@pytest.mark.parametrize("schedule", ["cosine", "constant"])
@pytest.mark.parametrize("encoder", [{}, FROZEN, NAMED])
def test_interrupted_and_resumed_is_never_stopped(
    tiny: Data, make_experiment: Any, files: Path, model: str, schedule: str, encoder: dict[str, Any]
) -> None:
    chosen = make_experiment(model=model, schedule=schedule, epochs=2, **encoder)
    whole = loop.start(chosen, tiny, CPU, files)
    rows = [row(result) for result in loop.epochs(whole)]

    first = loop.start(chosen, tiny, CPU, files)
    next(loop.epochs(first))
    content = checkpoint.snapshot(first).to_bytes(rows=[1])
    torch.rand(5)  # the global generator is elsewhere in another process
    second = loop.start(chosen, tiny, CPU, files)
    assert checkpoint.restore(second, content)["rows"] == [1]
    assert [row(result) for result in loop.epochs(second)] == rows[1:]
    assert same(weights(second), weights(whole))
    assert same(optimizer_state(second), optimizer_state(whole))


def test_a_weights_file_is_safetensors_with_what_prediction_needs(tiny: Data, make_experiment: Any) -> None:
    """Read by the format's own library: tensors by name, and one JSON header."""
    run = loop.start(make_experiment(), tiny, CPU)
    content = checkpoint.snapshot(run).weights(run).to_bytes(trial=7)
    assert same(safetensors.torch.load(content), weights(run))
    tensors, header = checkpoint.read(content)
    assert same(tensors, weights(run))
    assert checkpoint.experiment_of(header) == run.experiment
    assert (header["class_names"], header["epoch"], header["trial"]) == (["background", "lesion"], 0, 7)


@pytest.mark.parametrize("dtype", checkpoint.DTYPES)
def test_every_kind_of_tensor_is_read_as_it_was(dtype: torch.dtype) -> None:
    """By the format's own library: scalars, empty ones and odd sizes beside each other."""
    tensors = {"b": torch.arange(6).view(2, 3), "a": torch.ones(5), "none": torch.ones(0, 2), "one": torch.tensor(3)}
    tensors = {name: value.to(dtype) for name, value in tensors.items()} | {"wide": torch.arange(3).double()}
    tensors["odd"] = torch.ones(3, dtype=torch.bfloat16)
    content = checkpoint.Snapshot(tensors, {"name": "ä"}).to_bytes(rows=[])
    found = safetensors.torch.load(content)
    assert same(found, tensors) and all(found[name].dtype == value.dtype for name, value in tensors.items())
    assert checkpoint.read(content)[1] == {"name": "ä", "rows": []}
    end = 8 + int.from_bytes(content[:8], "little")
    table = json.loads(content[8:end])
    del table["__metadata__"]
    assert end % 8 == 0 and all(table[name]["data_offsets"][0] % tensors[name].element_size() == 0 for name in table)


def test_a_snapshot_is_a_copy(tiny: Data, make_experiment: Any) -> None:
    """Training goes on while it is written."""
    run = loop.start(make_experiment(), tiny, CPU)
    kept, before = checkpoint.snapshot(run), weights(run)
    next(loop.epochs(run))
    after = {name.removeprefix("model."): value for name, value in kept.tensors.items()}
    assert same(after, before) and not same(after, weights(run))


def test_a_checkpoint_leaves_a_frozen_encoder_out(tiny: Data, make_experiment: Any, files: Path) -> None:
    run = loop.start(make_experiment(**NAMED), tiny, CPU, files)
    next(loop.epochs(run))
    kept = checkpoint.snapshot(run)
    names = {name for name in kept.tensors if name.startswith("model.")}
    assert names == {f"model.{name}" for name in weights(run) if not name.startswith("encoder.")}
    assert same(kept.weights(run).tensors, weights(run))


def test_a_random_one_is_in_it(tiny: Data, make_experiment: Any) -> None:
    """On another machine, the same seed may make another."""
    run = loop.start(make_experiment(**FROZEN), tiny, CPU)
    assert {f"model.{name}" for name in weights(run)} <= checkpoint.snapshot(run).tensors.keys()


def test_a_checkpoint_with_a_frozen_encoder_in_it_is_read(tiny: Data, make_experiment: Any, files: Path) -> None:
    """As earlier versions wrote them; their experiments lack a field that has come since."""
    first = loop.start(make_experiment(**NAMED), tiny, CPU, files)
    next(loop.epochs(first))
    kept = checkpoint.snapshot(first)
    whole = {f"model.{name}": value.contiguous() for name, value in weights(first).items()} | kept.tensors
    header = {name: value for name, value in kept.header.items() if name != checkpoint.FROZEN}
    header["experiment"] = {k: v for k, v in header["experiment"].items() if k != "encoder_frozen_epochs"}
    second = loop.start(make_experiment(**NAMED), tiny, CPU, files)
    checkpoint.restore(second, checkpoint.Snapshot(whole, header).to_bytes())
    assert same(weights(second), weights(first))


def test_a_checkpoint_of_another_frozen_encoder_is_refused(tiny: Data, make_experiment: Any, files: Path) -> None:
    """Its decoder was trained on other features: another weights file, say."""
    chosen = make_experiment(**NAMED)
    content = checkpoint.snapshot(loop.start(chosen, tiny, CPU, files)).to_bytes()
    other = loop.start(chosen, tiny, CPU, files)
    with torch.no_grad():
        next(other.model.encoder.parameters()).add_(1)
    before = weights(other)
    with pytest.raises(CheckpointError, match="another frozen encoder: give the same weights file"):
        checkpoint.restore(other, content)
    assert same(weights(other), before)


def refused(tiny: Data, chosen: Any, content: bytes, said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        checkpoint.restore(loop.start(chosen, tiny, CPU), content)


def test_a_checkpoint_of_another_experiment_is_refused(tiny: Data, make_experiment: Any) -> None:
    content = checkpoint.snapshot(loop.start(make_experiment(), tiny, CPU)).to_bytes()
    refused(tiny, make_experiment(seed=1), content, "another experiment")


def test_a_checkpoint_of_other_classes_is_refused(tiny: Data, make_experiment: Any) -> None:
    content = checkpoint.snapshot(loop.start(make_experiment(), tiny, CPU)).to_bytes()
    renamed = dataclasses.replace(tiny, class_names=("background", "mole"))
    refused(renamed, make_experiment(), content, "other classes: background, lesion")


def test_a_weights_file_is_no_checkpoint(tiny: Data, make_experiment: Any) -> None:
    run = loop.start(make_experiment(), tiny, CPU)
    content = checkpoint.snapshot(run).weights(run).to_bytes()
    refused(tiny, make_experiment(), content, "not those of the model alone")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not a safetensors file"),
        (pickle.dumps({"weight": 1}), "not a safetensors file"),
        (safetensors.torch.save({"weight": torch.ones(2)}), "not one that a study wrote"),
        (safetensors.torch.save({"weight": torch.ones(2)})[:-1], "not a safetensors file"),
    ],
)
def test_other_files_are_refused(content: bytes, said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        checkpoint.read(content)


def test_an_experiment_of_another_version_is_refused(make_experiment: Any) -> None:
    with pytest.raises(CheckpointError, match="not one of this version: momentum: not a field"):
        checkpoint.experiment_of({"experiment": make_experiment().to_json() | {"momentum": 0.9}})
