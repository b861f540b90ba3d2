import io
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch

from seg import models, weights
from seg.models import MODELS, build, parameter_counts
from seg.models.mobilenetv2_skip import BLOCKS


@pytest.mark.parametrize(
    ("name", "encoder", "decoder"),
    [("mobilenetv2_plain", 2_223_872, 7_251_041), ("mobilenetv2_skip", 2_223_872, 1_594_314)],
)
def test_parameters_are_those_published(name: str, encoder: int, decoder: int) -> None:
    model = build(name, classes=2)
    assert parameter_counts(model) == (encoder, decoder)
    assert sum(p.numel() for p in model.decoder.parameters()) == decoder


def test_the_whole_of_r3_has_3818186_parameters() -> None:
    assert sum(parameter_counts(build("mobilenetv2_skip", 2))) == 3_818_186


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("classes", "channels"), [(2, 1), (5, 5)])
def test_logits_have_the_images_size(name: str, classes: int, channels: int) -> None:
    model = build(name, classes).eval()
    assert model(torch.rand(2, 3, 64, 96)).shape == (2, channels, 64, 96)


def test_r3_blocks_have_the_published_output_sizes() -> None:
    """The table of the report, at 128 x 128."""
    model, sizes = build("mobilenetv2_skip", 2).eval(), []
    for block in model.decoder.blocks:
        block.register_forward_hook(lambda _, __, output: sizes.append(tuple(output.shape[1:])))
    model(torch.rand(1, 3, 128, 128))
    widths = [width for width, _, _ in BLOCKS]
    assert widths == [320, 160, 96, 64, 32, 24, 16, 32, 3]
    assert sizes == list(zip(widths, *[[4, 4, 8, 8, 16, 32, 64, 64, 128]] * 2, strict=True))


@pytest.mark.parametrize("name", MODELS)
def test_a_size_that_is_no_multiple_of_32_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="100x64: both sides must be multiples of 32"):
        build(name, 2)(torch.rand(1, 3, 100, 64))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'unet5' is not known; choose from mobilenetv2_plain, mobilenetv2_skip"):
        build("unet5", 2)


def test_fewer_than_two_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        build("mobilenetv2_skip", 1)


@pytest.mark.parametrize("name", MODELS)
def test_imagenet_weights_reach_the_encoder(name: str, weights_dir: Path) -> None:
    stored = torch.load(weights_dir / models.WEIGHTS[name], weights_only=True)
    loaded = build(name, 2, weights_dir).encoder.state_dict()
    assert loaded
    for key, value in loaded.items():
        assert torch.equal(value, stored[f"features.{key}"]), key


def test_missing_weights_say_which_file_goes_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = {"mobilenet_v2.pth": ("http://127.0.0.1:9/mobilenet_v2.pth", "b0353104")}
    monkeypatch.setattr(weights, "OFFICIAL", nowhere)
    with pytest.raises(weights.WeightsError, match=r"mobilenet_v2.pth: missing.*--weights.*encoder.weights=none"):
        build("mobilenetv2_skip", 2, tmp_path)


def test_other_weights_are_refused(tmp_path: Path) -> None:
    torch.save({"features.0.0.weight": torch.zeros(1)}, tmp_path / "mobilenet_v2.pth")
    with pytest.raises(weights.WeightsError, match="not the state dict"):
        build("mobilenetv2_skip", 2, tmp_path)


def test_a_file_that_holds_no_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save(torch.zeros(1), tmp_path / "mobilenet_v2.pth")
    with pytest.raises(weights.WeightsError, match=r"mobilenet_v2.pth: holds a Tensor, not a state dict"):
        build("mobilenetv2_skip", 2, tmp_path)


def test_the_table_of_parameters_is_csv(monkeypatch: pytest.MonkeyPatch) -> None:
    from seg.models.__main__ import main

    monkeypatch.setattr("sys.argv", ["models"])
    with redirect_stdout(io.StringIO()) as out:
        main()
    assert out.getvalue().splitlines()[0] == "model,encoder_params,decoder_params,total_params"
    assert "mobilenetv2_skip,2223872,1594314,3818186" in out.getvalue()
