"""Architectures of segmentation_models_pytorch: `smp:<Architecture>:<encoder>`."""

import difflib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seg import weights
from seg.models import FORM, reach
from seg.models.segmenter import Segmenter
from seg.models.single_norm import allow_single_values

REFUSALS = (ValueError, KeyError, RuntimeError, TypeError, AttributeError)
"""What the library raises for a pair that it cannot build, or weights that it does not have."""


@cache
def check(name: str) -> None:
    """ValueError where `name` is of no architecture and encoder that can be built here.

    It is built to find out: the library has no list of the encoders that an architecture refuses.
    """
    parts = name.split(":")
    if len(parts) != 3 or not all(parts):
        raise ValueError(f"model: {name!r} is not of the form {FORM}, as in smp:Unet:resnet18")
    library = _library(name)
    _check_known(name, "architecture", parts[1], _architectures(library))
    _check_known(name, "encoder", parts[2], _encoders(library, parts[2]))
    with torch.random.fork_rng(devices=[]):  # a model that was checked has the weights of one that was not
        _build(name, channels=1)


@cache
def takes(name: str, image_size: int) -> bool:
    """Whether the model runs on square images of this side, in pixels."""
    check(name)
    with torch.random.fork_rng(devices=[]):
        return reach.takes(_build(name, channels=1), image_size)


class Smp(Segmenter):
    """The library's own model; everything but its encoder counts as decoder."""

    multiple = 32

    def __init__(self, name: str, channels: int):
        super().__init__()
        self.name = name
        self.encoder_name = name.split(":")[2]
        self.net = _build(name, channels)
        allow_single_values(self.net)
        reach.freeze_unreached(self.net)

    @property
    def encoder(self) -> nn.Module:  # type: ignore[override]
        return self.net.get_submodule("encoder")

    @property
    def decoder(self) -> nn.Module:  # type: ignore[override]
        return self.net.get_submodule("decoder")

    @property
    def separable(self) -> bool:  # type: ignore[override]
        """DPT has a forward pass of its own."""
        return type(self.net).forward is _library(self.name).base.SegmentationModel.forward

    def forward(self, images_N3HW: Tensor, features: Sequence[Tensor] | None = None) -> Tensor:
        if features is None:
            self.check_size(images_N3HW)
            return self.net(images_N3HW)
        return self.decode(images_N3HW, features)

    def features(self, images_N3HW: Tensor) -> list[Tensor]:
        """All but the image itself, which most encoders of the library give too."""
        return [feature for feature in self.encoder(images_N3HW) if feature is not images_N3HW]

    def decode(self, images_N3HW: Tensor, features: Sequence[Tensor]) -> Tensor:
        net: Any = self.net
        left_out = len(net.encoder.out_channels) - len(features)
        return net.segmentation_head(net.decoder([images_N3HW] * left_out + list(features)))

    def load_encoder(self, path: Path) -> None:
        """From the file, torchvision's where it has one, else the library's own download."""
        if path.name in weights.OFFICIAL or path.exists():
            weights.load(self.encoder, path)
        else:
            self.encoder.load_state_dict(_downloaded(self.name, path))


def _downloaded(name: str, path: Path) -> dict[str, Tensor]:
    """State of the encoder as the library fetches it, into a cache of its own."""
    library, encoder = _library(name), name.split(":")[2]
    try:
        with torch.random.fork_rng(devices=[]):  # what follows draws the same, however the weights came
            model = _create(library, name, 1, True if encoder.startswith("tu-") else "imagenet")
    except (OSError, *REFUSALS) as error:
        raise weights.WeightsError(
            f"{path}: missing, and segmentation_models_pytorch has no ImageNet weights for {encoder} or could not "
            f"fetch them ({_one_line(error)}); put the encoder's state dict there, "
            "or train from scratch: --set encoder.weights=none"
        ) from error
    return model.get_submodule("encoder").state_dict()


def _build(name: str, channels: int) -> nn.Module:
    library = _library(name)
    try:
        return _create(library, name, channels, None)
    except REFUSALS as error:
        raise ValueError(f"model: {name!r} cannot be built: {_one_line(error)}") from error


def _create(library: Any, name: str, channels: int, pretrained: str | bool | None) -> nn.Module:
    _, architecture, encoder = name.split(":")
    return library.create_model(architecture, encoder, encoder_weights=pretrained, classes=channels)


def _library(name: str) -> Any:
    try:
        import segmentation_models_pytorch
    except ImportError as error:
        raise ValueError(
            f"model: {name!r} needs segmentation_models_pytorch; install it: pip install segmentation-models-pytorch"
        ) from error
    return segmentation_models_pytorch


def _architectures(library: Any) -> list[str]:
    return sorted(architecture.__name__ for architecture in library.MODEL_ARCHITECTURES_MAPPING.values())


def _encoders(library: Any, like: str) -> list[str]:
    """Its own, or for `tu-...` all of timm's, with the tag of pretrained weights that `like` may have."""
    if not like.startswith("tu-"):
        return sorted(library.encoders.get_encoder_names())
    import timm

    _, dot, tag = like.partition(".")
    return [f"tu-{model}{dot}{tag}" for model in timm.list_models()]


def _check_known(name: str, kind: str, given: str, known: list[str]) -> None:
    if given in known:
        return
    near = difflib.get_close_matches(given, known, n=5, cutoff=0.4) or known[:12]
    raise ValueError(f"model: {name!r}: the {kind} {given!r} is not known; near it are {', '.join(near)}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
