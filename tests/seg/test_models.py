import io
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch
import torchvision

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


@pytest.mark.parametrize("name", ["mobilenetv2_plain", "mobilenetv2_skip", "unet"])
def test_a_size_that_cannot_be_taken_is_refused_with_those_that_can(name: str) -> None:
    multiple = models.family(name).multiple
    with pytest.raises(ValueError, match=f"100x65: both sides must be multiples of {multiple}"):
        build(name, 2)(torch.rand(1, 3, 100, 65))


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
    ],
)
def test_an_unknown_name_of_the_extra_library_says_what_is_near(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(name, 2)


def test_without_the_extra_library_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(ValueError, match=r"needs segmentation_models_pytorch; .*'segstudy\[zoo\]'"):
        build("smp:Unet:resnet18", 2)


def test_fewer_than_two_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        build("mobilenetv2_skip", 1)


@pytest.mark.parametrize("name", ["mobilenetv2_plain", "mobilenetv2_skip"])
def test_imagenet_weights_reach_the_encoder(name: str, weights_dir: Path) -> None:
    stored = torch.load(weights_dir / "mobilenet_v2.pth", weights_only=True)
    loaded = build(name, 2, weights_dir).encoder.state_dict()
    assert loaded
    for key, value in loaded.items():
        assert torch.equal(value, stored[f"features.{key}"]), key


@pytest.mark.parametrize(
    ("name", "torchvisions", "file"),
    [
        ("deeplabv3_mobilenetv3", torchvision.models.mobilenet_v3_large, "mobilenet_v3_large.pth"),
        ("deeplabv3_resnet50", torchvision.models.resnet50, "resnet50.pth"),
        ("smp:Unet:mobilenet_v2", torchvision.models.mobilenet_v2, "mobilenet_v2.pth"),
        ("smp:FPN:resnet18", torchvision.models.resnet18, "resnet18.pth"),
    ],
)
def test_a_classifiers_weights_reach_every_layer_of_the_encoder(
    name: str, torchvisions: Callable[..., torch.nn.Module], file: str, tmp_path: Path
) -> None:
    """A file as torchvision's own, its classifier included; numbers that no initialisation would give."""
    state = torchvisions(weights=None).state_dict()
    stored = {key: torch.full_like(value, 7) for key, value in state.items()}
    torch.save(stored, tmp_path / file)
    encoder = build(name, 2, tmp_path).encoder.state_dict()
    kept = [key for key in stored if not key.startswith(("classifier", "fc"))]
    assert len(encoder) == len(kept)
    assert all((value == 7).all() for value in encoder.values())


def test_an_encoder_of_the_extra_library_sees_as_torchvisions_does(tmp_path: Path) -> None:
    classifier = torchvision.models.mobilenet_v2(weights=None).eval()
    torch.save(classifier.state_dict(), tmp_path / "mobilenet_v2.pth")
    images = torch.rand(1, 3, 64, 64)
    encoder = build("smp:Unet:mobilenet_v2", 2, tmp_path).eval().encoder
    assert torch.equal(encoder(images)[-1], classifier.features(images))


def test_an_architecture_without_pretrained_weights_asks_for_none(tmp_path: Path) -> None:
    assert not models.pretrained("unet")
    build("unet", 2, tmp_path)
    assert not list(tmp_path.iterdir())


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
    assert [line.split(",")[0] for line in out.getvalue().splitlines()[1:]] == list(MODELS)
