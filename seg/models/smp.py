"""Architectures of segmentation_models_pytorch, where that extra is installed: `smp:<Architecture>:<encoder>`."""

import difflib
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from seg import weights
from seg.models.pooled_norm import replace_pooled_norms
from seg.models.segmenter import Segmenter

PREFIX = "smp:"
FORM = "smp:<Architecture>:<encoder>"


def check(name: str) -> None:
    """ValueError where `name` is of no architecture and encoder that can be built here."""
    parts = name.split(":")
    if len(parts) != 3 or not all(parts):
        raise ValueError(f"model: {name!r} is not of the form {FORM}, as in smp:Unet:resnet18")
    library = _library(name)
    _check_known(name, "architecture", parts[1], _architectures(library))
    if not parts[2].startswith("tu-"):  # any of timm's models
        _check_known(name, "encoder", parts[2], library.encoders.get_encoder_names())


class Smp(Segmenter):
    """The library's own model; everything but its encoder counts as decoder."""

    multiple = 32

    def __init__(self, name: str, channels: int):
        super().__init__()
        check(name)
        _, architecture, self.encoder_name = name.split(":")
        try:
            self.net: nn.Module = _library(name).create_model(architecture, self.encoder_name, None, classes=channels)
        except (ValueError, KeyError, RuntimeError, TypeError) as error:
            raise ValueError(f"model: {name!r} cannot be built: {_one_line(error)}") from error
        replace_pooled_norms(self.net)

    @property
    def encoder(self) -> nn.Module:  # type: ignore[override]
        return self.net.get_submodule("encoder")

    @property
    def decoder(self) -> nn.Module:  # type: ignore[override]
        return self.net.get_submodule("decoder")

    def forward(self, images_N3HW: Tensor) -> Tensor:
        self.check_size(images_N3HW)
        return self.net(images_N3HW)

    def load_encoder(self, weights_dir: Path) -> None:
        """From `<encoder>.pth` in the folder, torchvision's file where it has one, else the library's own download."""
        file_name = f"{self.encoder_name}.pth"
        if file_name in weights.OFFICIAL or (Path(weights_dir) / file_name).exists():
            weights.load(self.encoder, file_name, weights_dir)
        else:
            self.encoder.load_state_dict(_downloaded(self.encoder_name, Path(weights_dir) / file_name))


def _downloaded(encoder_name: str, path: Path) -> dict[str, Tensor]:
    encoders = _library(encoder_name).encoders
    try:
        encoder = encoders.get_encoder(encoder_name, weights=True if encoder_name.startswith("tu-") else "imagenet")
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise weights.WeightsError(
            f"{path}: missing, and segmentation_models_pytorch could not download ImageNet weights for "
            f"{encoder_name} ({_one_line(error)}); put the encoder's state dict there, "
            "or train from scratch: --set encoder.weights=none"
        ) from error
    return encoder.state_dict()


def _library(name: str) -> Any:
    try:
        import segmentation_models_pytorch
    except ImportError as error:
        raise ValueError(
            f"model: {name!r} needs segmentation_models_pytorch; install it: pip install 'segstudy[zoo]'"
        ) from error
    return segmentation_models_pytorch


def _architectures(library: Any) -> list[str]:
    return sorted(architecture.__name__ for architecture in library.MODEL_ARCHITECTURES_MAPPING.values())


def _check_known(name: str, kind: str, given: str, known: list[str]) -> None:
    if given in known:
        return
    near = difflib.get_close_matches(given, known, n=5, cutoff=0.4) or known[:12]
    raise ValueError(f"model: {name!r}: the {kind} {given!r} is not known; near it are {', '.join(near)}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
