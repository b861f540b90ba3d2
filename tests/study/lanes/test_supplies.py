"""A node that does not see the driver's folders has the same pack and the same weights, and fetches them once."""

import dataclasses
import multiprocessing
import shutil
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
import torch
from own_specs import SEARCHED

from seg import data, pack
from seg.data import DataError
from seg.pack import Pack
from study.lanes import supplies
from study.ranking.objective import Objective
from study.spec import Spec, load_spec
from study.store import Store, StoreError
from study.trials.messages import LaneSettings


@pytest.fixture
def spec() -> Spec:
    return load_spec(SEARCHED, ["image_size=64"])


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return pack.build(data.load("phantom", Path("nowhere")), 64, tmp_path_factory.mktemp("driver"), progress=False)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A folder with the weights of the phantom study's encoder, and another file."""
    folder = tmp_path / "weights"
    folder.mkdir()
    torch.save({"some": torch.arange(3)}, folder / "mobilenet_v2.pth")
    (folder / "other.pth").write_text("not asked for")
    return folder


@pytest.fixture
def storage(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "storage"))


@pytest.fixture(autouse=True)
def _another_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "node"))


def settings_elsewhere(spec: Spec, storage: Store, packed: Pack, weights: Path | None, data_dir: Path) -> LaneSettings:
    """As on a node where the driver's folders are not."""
    there = supplies.publish(spec, storage, packed, weights, data_dir)
    return LaneSettings(
        store_uri=f"{storage.uri}/study",
        pack_folder=f"/nowhere/{packed.folder.name}",
        weights_dir="/nowhere/weights" if weights else None,
        objective=Objective("val_iou", "max"),
        workers=1,
        gpus_per_worker=0,
        threads=1,
        elsewhere=there,
    )


def test_pack_and_weights_come_from_the_storage(
    spec: Spec, storage: Store, packed: Pack, weights: Path, tmp_path: Path
) -> None:
    settings = settings_elsewhere(spec, storage, packed, weights, Path("nowhere"))
    found = supplies.pack_here(settings)
    assert found.folder.parent == tmp_path / "node" and found.ids == packed.ids and found.key == packed.key
    folder = supplies.weights_here(settings)
    assert folder is not None and [path.name for path in folder.iterdir()] == ["mobilenet_v2.pth"]
    assert (folder / "mobilenet_v2.pth").read_bytes() == (weights / "mobilenet_v2.pth").read_bytes()
    shutil.rmtree(storage.uri)
    assert supplies.pack_here(settings).folder == found.folder and supplies.weights_here(settings) == folder


def test_the_driver_s_own_folders_are_used_where_they_are(
    spec: Spec, storage: Store, packed: Pack, weights: Path, tmp_path: Path
) -> None:
    settings = settings_elsewhere(spec, storage, packed, weights, Path("nowhere"))
    here = dataclasses.replace(settings, pack_folder=str(packed.folder), weights_dir=str(weights))
    assert supplies.pack_here(here).folder == packed.folder and supplies.weights_here(here) == weights
    assert not (tmp_path / "node").exists()


def test_weights_of_the_same_name_from_elsewhere_are_not_taken_for_the_driver_s(
    spec: Spec, storage: Store, packed: Pack, weights: Path, tmp_path: Path
) -> None:
    """On a node that has trained before, at the same path."""
    settings = settings_elsewhere(spec, storage, packed, weights, Path("nowhere"))
    other = tmp_path / "data" / "weights"
    other.mkdir(parents=True)
    here = dataclasses.replace(settings, weights_dir=str(other))
    for content in (None, b"another epoch"):
        if content:
            (other / "mobilenet_v2.pth").write_bytes(content)
        found = supplies.weights_here(here)
        assert found is not None and found != other
        assert (found / "mobilenet_v2.pth").read_bytes() == (weights / "mobilenet_v2.pth").read_bytes()


def test_a_damaged_copy_of_the_pack_is_fetched_again(spec: Spec, storage: Store, packed: Pack, tmp_path: Path) -> None:
    """As a power failure leaves it, at the path that the driver's has."""
    settings = settings_elsewhere(spec, storage, packed, None, Path("nowhere"))
    fetched = supplies.pack_here(settings).folder
    (fetched / "masks.npy").write_bytes((fetched / "masks.npy").read_bytes()[:100])
    again = supplies.pack_here(dataclasses.replace(settings, pack_folder=str(fetched)))
    assert again.folder == fetched and (again.masks_NHW == packed.masks_NHW).all()


def test_from_scratch_there_are_no_weights(spec: Spec, storage: Store, packed: Pack) -> None:
    settings = settings_elsewhere(spec, storage, packed, None, Path("nowhere"))
    assert supplies.weights_here(settings) is None
    assert storage.names(supplies.WEIGHTS) == []


def test_a_node_with_the_data_decodes_what_the_storage_has_lost(
    spec: Spec, storage: Store, packed: Pack, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_elsewhere(spec, storage, packed, None, Path("nowhere"))
    shutil.rmtree(storage.uri)
    assert supplies.pack_here(settings).key == packed.key  # synthetic images are made anywhere


def test_a_node_with_neither_says_so(spec: Spec, storage: Store, packed: Pack, weights: Path, tmp_path: Path) -> None:
    settings = settings_elsewhere(spec, storage, packed, weights, tmp_path)
    assert settings.elsewhere is not None
    shutil.rmtree(storage.uri)
    lost = dataclasses.replace(settings, elsewhere=dataclasses.replace(settings.elsewhere, dataset="isic2016"))
    with pytest.raises(DataError, match=rf"node .*has no pack {packed.folder.name}, and here is no data to make it"):
        supplies.pack_here(lost)
    with pytest.raises(StoreError, match="not there"):
        supplies.weights_here(settings)
    assert not [path for path in (tmp_path / "node").iterdir() if path.is_dir()], "nothing half-made is left"


def _fetch(settings: LaneSettings, root: str) -> tuple[str, str]:
    import os

    os.environ["STUDY_CACHE"] = root
    return str(supplies.pack_here(settings).folder), str(supplies.weights_here(settings))


def test_lanes_that_start_together_fetch_once(
    spec: Spec, storage: Store, packed: Pack, weights: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = settings_elsewhere(spec, storage, packed, weights, Path("nowhere"))
    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = set(pool.map(_fetch, [settings] * 3, [str(tmp_path / "node")] * 3))
    assert len(found) == 1
    assert capfd.readouterr().err.count("pack from") == 1
