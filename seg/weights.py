"""ImageNet weights of an encoder: from a folder of torchvision state dicts, or downloaded into it."""

import pickle
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor, nn

OFFICIAL = {
    "mobilenet_v2.pth": ("https://download.pytorch.org/models/mobilenet_v2-b0353104.pth", "b0353104"),
}
"""File name in the folder -> address and the first digits of its SHA-256."""


class WeightsError(Exception):
    """The weights cannot be had. The message says which file to put where."""


def load(encoder: nn.Module, file_name: str, weights_dir: Path, prefix: str = "features.") -> None:
    """Copy the tensors under `prefix` of `weights_dir/file_name` into `encoder`; the classifier's are not needed."""
    path = find(file_name, weights_dir)
    state = {key.removeprefix(prefix): value for key, value in _read(path).items() if key.startswith(prefix)}
    try:
        encoder.load_state_dict(state)
    except RuntimeError as error:
        problem = str(error).splitlines()[-1].strip()
        raise WeightsError(f"{path}: not the state dict of torchvision's {file_name[:-4]}: {problem}") from error


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
    """The file in `weights_dir`, downloaded there first where it is missing (progress bar, hash checked)."""
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
