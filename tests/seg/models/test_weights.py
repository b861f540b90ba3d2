import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch
import torchvision

from seg import models
from seg.models import build, weights


@pytest.mark.parametrize("file_name", weights.OFFICIAL)
def test_addresses_and_hashes_are_torchvisions(file_name: str) -> None:
    address, digits = weights.OFFICIAL[file_name]
    assert address == torchvision.models.get_model_weights(file_name.removesuffix(".pth")).IMAGENET1K_V1.url
    assert address.endswith(f"-{digits}.pth")


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


def test_a_file_without_the_classifier_will_do(tmp_path: Path) -> None:
    features = torchvision.models.mobilenet_v3_large(weights=None).features
    torch.save(
        {f"features.{key}": value for key, value in features.state_dict().items()}, tmp_path / "mobilenet_v3_large.pth"
    )
    images = torch.rand(1, 3, 64, 64)
    theirs = torchvision.models.segmentation.deeplabv3_mobilenet_v3_large(
        weights=None, weights_backbone=None, aux_loss=False
    ).backbone.eval()
    theirs.load_state_dict(features.state_dict())
    encoder = build("deeplabv3_mobilenetv3", 2, tmp_path).eval().encoder
    assert torch.equal(encoder(images)["out"], theirs(images)["out"])


def test_resnet50_sees_what_its_first_three_stages_see_in_torchvisions_classifier(tmp_path: Path) -> None:
    """DeepLabV3 dilates the last two stages; what comes before them is the classifier's to the bit."""
    classifier = torchvision.models.resnet50(weights=None).eval()
    torch.save(classifier.state_dict(), tmp_path / "resnet50.pth")
    encoder = build("deeplabv3_resnet50", 2, tmp_path).eval().encoder
    ours = theirs = torch.rand(1, 3, 64, 64)
    for name in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2"):
        ours, theirs = encoder[name](ours), classifier.get_submodule(name)(theirs)
    assert torch.equal(ours, theirs)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address at which this machine serves it."""
    folder = tmp_path / "served"
    folder.mkdir()
    served = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=folder))
    Thread(target=served.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{served.server_port}"
    served.shutdown()
    served.server_close()


def test_missing_weights_are_downloaded_once(
    server: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = server
    state = torchvision.models.mobilenet_v2(weights=None).state_dict()
    torch.save(state, folder / "file.pth")
    digits = hashlib.sha256((folder / "file.pth").read_bytes()).hexdigest()[:8]
    monkeypatch.setattr(weights, "OFFICIAL", {"mobilenet_v2.pth": (f"{address}/file.pth", digits)})
    first = build("mobilenetv2_plain", 2, tmp_path / "weights").encoder
    (folder / "file.pth").unlink()
    again = build("mobilenetv2_plain", 2, tmp_path / "weights").encoder
    key = "0.0.weight"
    assert torch.equal(first.state_dict()[key], state[f"features.{key}"])
    assert torch.equal(first.state_dict()[key], again.state_dict()[key])


def test_a_download_that_is_not_the_official_file_leaves_nothing(
    server: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = server
    (folder / "file.pth").write_bytes(b"not the official one")
    monkeypatch.setattr(weights, "OFFICIAL", {"mobilenet_v2.pth": (f"{address}/file.pth", "b0353104")})
    with pytest.raises(weights.WeightsError, match="could not be downloaded"):
        build("mobilenetv2_plain", 2, tmp_path / "weights")
    assert list((tmp_path / "weights").iterdir()) == []
