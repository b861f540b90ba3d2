"""ImageNet weights of an encoder: from a folder of torchvision state dicts, or downloaded into it."""

import pickle
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor, nn

from seg.errors import UserError

OFFICIAL = {
    name: (f"https://download.pytorch.org/models/{name.removesuffix('.pth')}-{digits}.pth", digits)
    for name, digits in {
        "mobilenet_v2.pth": "b0353104",
        "mobilenet_v3_large.pth": "8738ca79",
        "resnet18.pth": "f37072fd",
        "resnet34.pth": "b627a593",
        "resnet50.pth": "0676ba61",
        "resnet101.pth": "63fe2227",
    }.items()
}
"""The address of each file in the folder, and the first digits of its SHA-256.

These are torchvision's IMAGENET1K_V1 weights, which existed when the published systems were trained.
"""


class WeightsError(UserError):
    """The error for weights that cannot be loaded. The message says which file to put where."""


def load(encoder: nn.Module, file: Path, prefix: str = "") -> None:
    """Copy the tensors under `prefix` of a file into `encoder`; a missing file is downloaded.

    The file must have all tensors of the encoder. It may also have the classifier's.
    """
    path = find(file.name, file.parent)
    wanted = encoder.state_dict().keys()
    found = {key.removeprefix(prefix): value for key, value in _read(path).items() if key.startswith(prefix)}
    state = {key: value for key, value in found.items() if key in wanted}
    try:
        encoder.load_state_dict(state)
    except RuntimeError as error:
        problem = str(error).splitlines()[-1].strip()
        raise WeightsError(f"{path}: not the state dict of torchvision's {file.stem}: {problem}") from error


def _read(path: Path) -> dict[str, Tensor]:
    try:
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WeightsError(f"{path}: cannot be read ({reason}); delete it or replace it") from error
    if not isinstance(state, dict):
        raise WeightsError(f"{path}: holds a {type(state).__name__}, not a state dict; delete it or replace it")
    return state


def find(file_name: str, weights_dir: Path) -> Path:
    """Return the file in `weights_dir`; a missing one is downloaded first (progress bar, hash checked)."""
    path = Path(weights_dir) / file_name
    if path.exists():
        return path
    url, hash_prefix = OFFICIAL[file_name]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(path), hash_prefix=hash_prefix)
    except (URLError, OSError, RuntimeError) as error:
        raise WeightsError(
            f"{path}: missing, and {url} could not be downloaded ({error}); "
            "put the file there, name its folder with --weights, or train from scratch: --set encoder.weights=none"
        ) from error
    return path
