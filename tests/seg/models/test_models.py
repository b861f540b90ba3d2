import io
import sys
from contextlib import redirect_stdout
from typing import Any

import pytest
import torch
import torchvision
from as_published import published

from seg import models
from seg.models import MODELS, build, parameter_counts
from seg.models.mobilenetv2 import BLOCKS


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
    """The table of the report, at 128 x 128; ours computes the same without some of its steps."""
    model, sizes = published(build("mobilenetv2_skip", 2)).eval(), []
    for block in model.decoder.blocks:
        block.register_forward_hook(lambda _, __, output: sizes.append(tuple(output.shape[1:])))
    model(torch.rand(1, 3, 128, 128))
    widths = [width for width, _, _ in BLOCKS]
    assert widths == [320, 160, 96, 64, 32, 24, 16, 32, 3]
    assert sizes == list(zip(widths, *[[4, 4, 8, 8, 16, 32, 64, 64, 128]] * 2, strict=True))


@pytest.mark.parametrize("name", ["mobilenetv2_plain", "mobilenetv2_skip", "unet"])
def test_a_size_that_cannot_be_taken_is_refused_with_those_that_can(name: str) -> None:
    multiple = models.family(name).multiple
    with pytest.raises(ValueError, match=f"100x65: both sides must be multiples of {multiple}"):
        build(name, 2)(torch.rand(1, 3, 100, 65))


@pytest.mark.parametrize("known", [*MODELS.values(), models.SMP], ids=lambda known: known.class_name)
def test_what_is_known_before_it_is_built_is_so(known: models.Architecture) -> None:
    segmenter: Any = known.segmenter()
    assert segmenter.multiple == known.multiple


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'unet5' is not known; choose from mobilenetv2_plain, mobilenetv2_skip"):
        build("unet5", 2)


@pytest.mark.parametrize("classes", [2, 6])
def test_deeplabv3_is_torchvisions(classes: int) -> None:
    """11,021,622 parameters at six classes, and the same logits for the same weights."""
    model = build("deeplabv3_mobilenetv3", classes).eval()
    theirs = torchvision.models.segmentation.deeplabv3_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=1 if classes == 2 else classes, aux_loss=False
    ).eval()
    theirs.backbone.load_state_dict(model.encoder.state_dict())
    theirs.classifier.load_state_dict(model.decoder.state_dict())
    images = torch.rand(2, 3, 65, 97)
    assert torch.equal(model(images), theirs(images)["out"])
    if classes == 6:
        assert sum(parameter_counts(model)) == 11_021_622


def test_unet_has_the_published_widths() -> None:
    model, seen = build("unet", 3).eval(), []
    for block in [*model.encoder.stages, model.encoder.bottleneck, *model.decoder.steps]:
        block.register_forward_hook(lambda _, __, output: seen.append(tuple(output.shape[1:])))
    model(torch.rand(1, 3, 64, 64))
    assert seen == [(64, 64, 64), (128, 32, 32), (256, 16, 16), (256, 8, 8), (128, 16, 16), (64, 32, 32), (64, 64, 64)]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("smp:Unet", "not of the form smp:<Architecture>:<encoder>"),
        ("smp:Unett:resnet18", "the architecture 'Unett' is not known; near it are Unet"),
        ("smp:Unet:resnet19", "the encoder 'resnet19' is not known; near it are resnet18"),
        ("smp:Unet:tu-resnet19.a1_in1k", "the encoder 'tu-resnet19.a1_in1k' is not known; near it are tu-resnet18.a1"),
        ("smp:Linknet:mit_b0", "'smp:Linknet:mit_b0' cannot be built: Encoder `mit_b0` is not supported"),
    ],
)
def test_an_unknown_name_of_the_extra_library_says_what_is_near(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(name, 2)


def test_sizes_that_a_model_can_take() -> None:
    """PAN halves the deepest features three times more; a vision transformer has positions for one size."""
    vit = "smp:DPT:tu-vit_tiny_patch16_224"
    assert [models.takes("smp:PAN:resnet18", size) for size in (64, 96, 128)] == [False, False, True]
    assert [models.takes(vit, size) for size in (192, 224, 256)] == [False, True, False]
    assert [models.takes("unet", size) for size in (56, 64, 68, 72)] == [False, True, False, True]
    assert models.takes("deeplabv3_mobilenetv3", 65)


def test_a_check_draws_nothing() -> None:
    torch.manual_seed(0)
    models.check("smp:FPN:resnet18")
    assert models.takes("smp:FPN:resnet18", 64)
    drawn = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(1))


def test_without_the_extra_library_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(ValueError, match=r"needs segmentation_models_pytorch; .*pip install"):
        build("smp:Unet:resnet18", 2)


def test_fewer_than_two_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        build("mobilenetv2_skip", 1)


def test_the_table_of_parameters_is_csv(monkeypatch: pytest.MonkeyPatch) -> None:
    from seg.models.__main__ import main

    monkeypatch.setattr("sys.argv", ["models"])
    with redirect_stdout(io.StringIO()) as out:
        main()
    assert out.getvalue().splitlines()[0] == "model,encoder_params,decoder_params,total_params"
    assert "mobilenetv2_skip,2223872,1594314,3818186" in out.getvalue()
    assert [line.split(",")[0] for line in out.getvalue().splitlines()[1:]] == list(MODELS)


def test_the_table_names_a_model_that_cannot_be(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from seg.models.__main__ import main

    monkeypatch.setattr("sys.argv", ["models", "--model", "smp:DPT:resnet18"])
    assert main() == 2
    assert "cannot be built: Only Timm encoders are supported for DPT" in capsys.readouterr().err
