"""Transposed convolutions of two inputs, and the decoder made of them, against PyTorch's own layers."""

from collections.abc import Callable

import pytest
import torch
from as_published import SkipDecoder
from torch import Tensor, nn

from seg import models
from seg.models.mobilenetv2 import MobileNetV2Skip, UpConvolution

GEOMETRIES = [(1, 1, 0), (2, 2, 0), (3, 3, 0), (3, 1, 1), (4, 2, 1)]


def gradients(compute: Callable[[], Tensor], module: nn.Module, inputs: list[Tensor]) -> dict[str, Tensor]:
    """Of a sum in which every output weighs something else; the output too."""
    output = compute()
    module.zero_grad()
    (output * torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view(output.shape)).sum().backward()
    found = {"output": output.detach()} | {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
    found |= {f"input {number}": x.grad for number, x in enumerate(inputs) if x.grad is not None}
    for x in inputs:
        x.grad = None
    return found


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("skipped", [0, 3])
def test_the_sum_is_the_convolution_of_the_concatenation(geometry: tuple[int, int, int], skipped: int) -> None:
    torch.manual_seed(0)
    ours = UpConvolution(2 + skipped, 4, *geometry).double()
    plain = nn.ConvTranspose2d(2 + skipped, 4, *geometry).double()
    plain.load_state_dict(ours.state_dict())
    x, skip = (torch.randn(2, n, 5, 3, dtype=torch.float64, requires_grad=True) for n in (2, max(skipped, 1)))
    inputs = [x, skip] if skipped else [x]
    found = gradients(lambda: ours(*inputs), ours, inputs)
    torch.testing.assert_close(found, gradients(lambda: plain(torch.cat(inputs, 1)), plain, inputs))


def test_patches_by_channel_are_the_pixels_of_the_output_by_channel() -> None:
    up = UpConvolution(2, 3, 2, 2)
    x = torch.randn(1, 2, 4, 5)
    whole = up(x)
    patches = up.patches(x, by_channel=True)
    for row in range(2):
        for column in range(2):
            of_place = patches[..., 2 * row + column :: 4].permute(0, 3, 1, 2)
            torch.testing.assert_close(of_place, whole[:, :, row::2, column::2])


@pytest.mark.parametrize("classes", [2, 6])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("frozen", [True, False])
def test_the_decoder_computes_what_was_published(classes: int, training: bool, frozen: bool) -> None:
    """Dropout too, from the same seed; in double precision, so that only rounding may differ."""
    torch.manual_seed(0)
    model = models.build("mobilenetv2_skip", classes).double()
    assert isinstance(model, MobileNetV2Skip)
    for norm in (m for m in model.decoder.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, 0.5, 2)
        nn.init.uniform_(norm.bias, -1, 1)
        norm.running_mean.uniform_(-1, 1)  # type: ignore[union-attr]
    published = SkipDecoder(model.decoder).double().train(training)
    model.decoder.train(training)
    model.encoder.eval()
    image = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        features = [feature.detach() for feature in model.features(image)]
    inputs = [feature.requires_grad_(not frozen) for feature in features]

    def compute(decoder: nn.Module) -> Callable[[], Tensor]:
        def run() -> Tensor:
            torch.manual_seed(1)
            output: Tensor = decoder(inputs[0], [*inputs[1:], image])
            return output

        return run

    wanted = gradients(compute(published), published, inputs)
    found = gradients(compute(model.decoder), model.decoder, inputs)
    torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(model.decoder.state_dict(), published.state_dict())  # running statistics
