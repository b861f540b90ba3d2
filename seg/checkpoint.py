"""Checkpoints and weights files in the safetensors format: tensors by name, the rest as JSON in the header. No pickles.

A run resumes from a checkpoint exactly where it stopped. The checkpoint has the weights, the optimiser state, and the
epoch; order, augmentation, and dropout of each epoch follow from (seed, epoch) alone. If the encoder is frozen and its
weights came from a file, the checkpoint has only their digest, because every run of the experiment starts with them.
A weights file has the model alone, and what prediction needs.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from seg.errors import UserError
from seg.experiment import Experiment
from seg.loop import Run

HEADER = "segstudy"
FROZEN = "frozen_sha256"
MODEL, AVERAGE, OPTIMIZER = "model.", "average.", "optimizer."
AVERAGED_STEPS = "averaged_steps"
DTYPES = {torch.float32: "F32", torch.float64: "F64", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64"}


class CheckpointError(UserError):
    """The error for a file that cannot be used as a checkpoint or weights file; the message says why."""


@dataclass(frozen=True)
class Snapshot:
    """A copy of a run's state in main memory, so that training can continue while it is written."""

    tensors: dict[str, Tensor]
    header: dict[str, Any]

    def to_bytes(self, **remarks: Any) -> bytes:
        """Return the content of a safetensors file, with `remarks` added to its header.

        The library reads this format (https://huggingface.co/docs/safetensors), but its own `save` is not used, because
        it copies every byte more than once.
        """
        # The widest elements first, so that each tensor starts at a multiple of its element size.
        tensors = sorted(self.tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
        table: dict[str, Any] = {"__metadata__": {HEADER: json.dumps(self.header | remarks)}}
        end = 0
        for name, tensor in tensors:
            begin, end = end, end + tensor.nbytes
            table[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
        head = json.dumps(table).encode()
        head += b" " * (-len(head) % 8)
        contents = [tensor.flatten().view(torch.uint8).numpy().data for _, tensor in tensors]
        return b"".join([len(head).to_bytes(8, "little"), head, *contents])

    def weights(self, run: Run) -> "Snapshot":
        """Return the model alone from a snapshot of `run`, with averaged weights if the experiment keeps them."""
        tensors = _under(AVERAGE if run.average else MODEL, self.tensors)
        frozen = {name: _on_host(value) for name, value in run.frozen.items()}
        return Snapshot(tensors | frozen, {name: self.header[name] for name in ("experiment", "class_names", "epoch")})


def snapshot(run: Run) -> Snapshot:
    """Copy all that training changes in model and optimiser, with the experiment, the class names, and the epoch."""
    model = {name: value for name, value in run.model.state_dict().items() if name not in run.frozen}
    tensors = {f"{MODEL}{name}": _on_host(value) for name, value in model.items()}
    if run.average:
        averages = run.average.model.state_dict()
        tensors |= {f"{AVERAGE}{name}": _on_host(averages[name]) for name in model}
    for index, state in run.optimizer.state_dict()["state"].items():
        tensors |= {f"{OPTIMIZER}{index}.{name}": _on_host(value) for name, value in state.items()}
    names = list(run.data.class_names)
    header: dict[str, Any] = {"experiment": run.experiment.to_json(), "class_names": names, "epoch": run.epoch}
    header |= {AVERAGED_STEPS: run.average.steps} if run.average else {}
    return Snapshot(tensors, header | ({FROZEN: run.encoder_digest} if run.frozen else {}))


def restore(run: Run, content: bytes) -> dict[str, Any]:
    """Load a checkpoint into a run that has just started, and return the checkpoint's header.

    The run continues in the checkpoint's precision. Raises CheckpointError if the checkpoint does not fit the run.
    """
    tensors, header = read(content)
    stored = experiment_of(header)
    if replace(stored, precision=run.experiment.precision) != run.experiment:
        raise CheckpointError("the checkpoint belongs to another experiment")
    if header["class_names"] != list(run.data.class_names):
        raise CheckpointError(f"the checkpoint belongs to other classes: {', '.join(header['class_names'])}")
    if FROZEN in header and header[FROZEN] != run.encoder_digest:
        raise CheckpointError("the checkpoint was trained on another frozen encoder: give the same weights file")
    frozen = run.frozen if FROZEN in header else {}
    load_model(run.model, _under(MODEL, tensors) | frozen)
    if run.average:
        load_model(run.average.model, _under(AVERAGE, tensors) | frozen)
        run.average.steps = header[AVERAGED_STEPS]
    _restore_optimizer(run.optimizer, tensors)
    run.experiment, run.epoch = stored, header["epoch"]
    return header


def read(content: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and header of a checkpoint or weights file. Raises CheckpointError for any other content."""
    try:
        tensors = safetensors.torch.load(content)
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"not a safetensors file: {error}") from error
    length = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + length]).get("__metadata__", {})
    if HEADER not in metadata:
        raise CheckpointError("a safetensors file, but not one that a study wrote")
    return tensors, json.loads(metadata[HEADER])


def experiment_of(header: Mapping[str, Any]) -> Experiment:
    """Return the experiment of a header. Raises CheckpointError if another version of this project wrote it."""
    try:
        return Experiment.from_json(header["experiment"])
    except ValueError as error:
        raise CheckpointError(f"its experiment is not one of this version: {error}") from error


def load_model(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load the model's tensors. Raises CheckpointError if any is missing, or if there are others."""
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError("its tensors are not those of the model alone; is it another kind of file?") from error


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _on_host(value: Tensor) -> Tensor:
    return value.detach().to("cpu", memory_format=torch.contiguous_format, copy=True).contiguous()


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Load the optimiser's state, each tensor in the memory layout of its parameter.

    The next step then computes exactly as it would have without the interruption.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for name, value in tensors.items():
        if not name.startswith(OPTIMIZER):
            continue
        _, index, key = name.split(".")
        parameter = parameters[int(index)]
        laid_out = torch.empty_like(parameter) if value.shape == parameter.shape else torch.empty_like(value)
        optimizer.state[parameter][key] = laid_out.to(parameter.device).copy_(value)
