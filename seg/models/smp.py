"""Architectures of segmentation_models_pytorch: `smp:<Architecture>:<encoder>`."""

import difflib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seg.models import weights
from seg.models.segmenter import Segmenter, allow_single_values

# Trial runs on PyTorch's meta device: shapes and gradients without numbers.

SIZES = (64, 128, 224, 256, 384, 512)
"""The image sides, in pixels, that are tried until the model takes one."""


def runs(model: nn.Module, size: int) -> bool:
    """Whether the model runs on two square images of `size` pixels."""
    try:
        _logits(model, size)
    except (RuntimeError, ValueError, AssertionError):  # a wrong size has no error of its own
        return False
    return True


def freeze_unreached(model: nn.Module) -> None:
    """Freeze the parameters that the loss gives no gradients, such as layers that only a classifier has.

    DDP would wait for their gradients forever, and no optimiser can train them. Nothing happens if the model does not
    take any of SIZES.
    """
    size = next((size for size in SIZES if runs(model, size)), None)
    if size is None:
        return
    logits, parameters = _logits(model, size)
    gradients = torch.autograd.grad(logits.sum(), list(parameters.values()), allow_unused=True)
    for name, gradient in zip(parameters, gradients, strict=True):
        if gradient is None:
            model.get_parameter(name).requires_grad_(False)


def _logits(model: nn.Module, size: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Return logits (2, K, size, size) on the meta device, and the parameters there that led to them."""
    parameters = {name: _meta(parameter).requires_grad_() for name, parameter in model.named_parameters()}
    buffers: dict[str, Any] = {name: _meta(buffer) for name, buffer in model.named_buffers()}
    images = torch.empty(2, 3, size, size, device="meta")
    return torch.func.functional_call(model, (parameters, buffers), (images,)), parameters


def _meta(tensor: Tensor) -> Tensor:
    return torch.empty_like(tensor, device="meta", requires_grad=False)


REFUSALS = (ValueError, KeyError, RuntimeError, TypeError, AttributeError)
"""The errors that the library raises for a pair that it cannot build, or weights that it does not have."""


@cache
def check(name: str) -> None:
    """Raise ValueError if `name` is not an architecture and encoder that can be built here.

    The model is built to find out: the library has no list of the encoders that an architecture refuses.
    """
    parts = name.split(":")
    if len(parts) != 3 or not all(parts):
        raise ValueError(f"model: {name!r} is not of the form smp:<Architecture>:<encoder>, as in smp:Unet:resnet18")
    library = _library(name)
    _check_known(name, "architecture", parts[1], _architectures(library))
    _check_known(name, "encoder", parts[2], _encoders(library, parts[2]))
    with torch.random.fork_rng(devices=[]):  # a check must not change the weights drawn later
        _build(name, channels=1)


@cache
def takes(name: str, image_size: int) -> bool:
    """Whether the model runs on square images of this side, in pixels."""
    check(name)
    with torch.random.fork_rng(devices=[]):
        return runs(_build(name, channels=1), image_size)


class Smp(Segmenter):
    """A model of the library; everything except its encoder counts as decoder."""

    multiple = 32

    def __init__(self, name: str, channels: int):
        super().__init__()
        self.name = name
        self.encoder_name = name.split(":")[2]
        self.net = _build(name, channels)
        allow_single_values(self.net)
        freeze_unreached(self.net)

    @property
    def encoder(self) -> nn.Module:  # type: ignore[override]
        return self.net.get_submodule("encoder")

    @property
    def decoder(self) -> nn.Module:  # type: ignore[override]
        return self.net.get_submodule("decoder")

    @property
    def separable(self) -> bool:  # type: ignore[override]
        """Whether the model uses the library's common forward pass; DPT has its own."""
        return type(self.net).forward is _library(self.name).base.SegmentationModel.forward

    def forward(self, images_N3HW: Tensor, features: Sequence[Tensor] | None = None) -> Tensor:
        if features is None:
            self.check_size(images_N3HW)
            return self.net(images_N3HW)
        return self.decode(images_N3HW, features)

    def features(self, images_N3HW: Tensor) -> list[Tensor]:
        """Return the encoder's features except the image itself, which most encoders of the library also give."""
        return [feature for feature in self.encoder(images_N3HW) if feature is not images_N3HW]

    def decode(self, images_N3HW: Tensor, features: Sequence[Tensor]) -> Tensor:
        net: Any = self.net
        left_out = len(net.encoder.out_channels) - len(features)
        return net.segmentation_head(net.decoder([images_N3HW] * left_out + list(features)))

    def load_encoder(self, path: Path) -> None:
        """Load the encoder's weights from the file, or from the library's own download.

        The file is used if it exists or torchvision offers it; torchvision's is downloaded if it is missing.
        """
        if path.name in weights.OFFICIAL or path.exists():
            weights.load(self.encoder, path)
        else:
            self.encoder.load_state_dict(_downloaded(self.name, path))


def _downloaded(name: str, path: Path) -> dict[str, Tensor]:
    """Return the encoder's state as the library downloads it, into a cache of its own."""
    library, encoder = _library(name), name.split(":")[2]
    try:
        with torch.random.fork_rng(devices=[]):  # later draws must not depend on where the weights came from
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
    """Return the library's own encoders; for `tu-...`, all of timm's, with the tag of pretrained weights in `like`."""
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
